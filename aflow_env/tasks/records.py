# SPDX-License-Identifier: Apache-2.0
"""Reading benchmark files: every complaint names the file, the line and the field.

`.jsonl` holds one object a line; `.json` holds one object or a list of them, and then "line" is the number of the item.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aflow_env.errors import ConfigError


@dataclass(frozen=True)
class Record:
    """One object of a data file, and where it stands."""

    source: str
    line: int
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """`FILE line N`, for messages."""
        return f"{self.source} line {self.line}"

    def text(self, *names: str) -> str:
        """The first of `names` that is there, as text (numbers are written out). Raises ConfigError when none is."""
        value = self.value(*names)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:.15g}" if isinstance(value, float) else str(value)
        raise self.error(names[0], f"should be text, not {type(value).__name__} ({_cut(value)})")

    def texts(self, *names: str) -> tuple[str, ...]:
        """The first of `names` that is there, as a list of texts. Raises ConfigError."""
        value = self.value(*names)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise self.error(names[0], f"should be a list of texts, not {_cut(value)}")

    def value(self, *names: str) -> Any:
        """The first of `names` that is there. Raises ConfigError when none is."""
        for name in names:
            if name in self.fields:
                return self.fields[name]
        have = ", ".join(sorted(self.fields)) or "none"
        raise self.error(" / ".join(names), f"is missing; the fields there are: {have}")

    def error(self, field: str, complaint: str) -> ConfigError:
        """A ConfigError about one field of this record."""
        return ConfigError(f"{self.place}, field `{field}` {complaint}.")


def read_records(path: Path) -> Iterator[Record]:
    """The objects of a .jsonl or .json file, in order; blank lines are passed over. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); set task.path to the data.") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path} line {line}: is not UTF-8 text ({error.reason}).") from None
    if path.suffix == ".json":
        whole = _parse(text, str(path), 1)
        items = list(enumerate(whole if isinstance(whole, list) else [whole], start=1))
    else:
        lines = enumerate(text.split("\n"), start=1)
        items = [(number, _parse(line, str(path), number)) for number, line in lines if line.strip()]
    for number, item in items:
        if not isinstance(item, dict):
            raise ConfigError(f"{path} line {number}: should be a JSON object, not {_cut(item)}.")
        yield Record(str(path), number, item)


def _parse(text: str, source: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        message, place = (error.msg, error) if isinstance(error, json.JSONDecodeError) else ("nested too deeply", None)
        where = line + place.lineno - 1 if place else line
        column = f" column {place.colno}" if place else ""
        raise ConfigError(f"{source} line {where}{column}: is not JSON ({message}).") from None


def _cut(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
