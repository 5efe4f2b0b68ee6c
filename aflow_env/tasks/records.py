# SPDX-License-Identifier: Apache-2.0
"""Reads benchmark files; every error names the file, the line and the field.

`.jsonl` holds one object a line; `.json` holds one object or a list of them, and then "line" is the number of the item.
`.csv` has the fields' names in its first row, and all of its values are text.
Byte order marks are skipped; text that is not UTF-8 is an error.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from aflow_env.errors import ConfigError

_BLANK = " \t\r\n\ufeff"


@dataclass(frozen=True)
class Record:
    """One object of a data file, and its place there."""

    source: str
    line: int
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """`FILE line N`, for messages."""
        return f"{self.source} line {self.line}"

    def text(self, *names: str) -> str:
        """Return the first existing field of `names`, a text or number, as text. Raises ConfigError."""
        value = self.value(*names)
        if isinstance(value, str):
            if not value.isascii() and value != value.encode("utf-8", "ignore").decode("utf-8"):
                raise self.error(names[0], "holds half of a surrogate pair (\\ud800 to \\udfff), which is no text")
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:.15g}" if isinstance(value, float) else str(value)
        raise self.error(names[0], f"should be text, not {type(value).__name__} ({_cut(value)})")

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return the first existing field of `names`, a list of texts. Raises ConfigError."""
        value = self.value(*names)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise self.error(names[0], f"should be a list of texts, not {_cut(value)}")

    def value(self, *names: str) -> Any:
        """Return the first existing field of `names`. Raises ConfigError when none exists."""
        for name in names:
            if name in self.fields:
                return self.fields[name]
        have = ", ".join(sorted(self.fields)) or "none"
        raise self.error(" / ".join(names), f"is missing; the fields there are: {have}")

    def checked(self, field: str, text: str, refuses: Callable[[str], str]) -> str:
        """Return `text`. Raises ConfigError about `field` when `refuses` returns a complaint."""
        if complaint := refuses(text):
            raise self.error(field, complaint)
        return text

    def error(self, field: str, complaint: str) -> ConfigError:
        """Return a ConfigError about one field of this record."""
        return ConfigError(f"{self.place}, field `{field}` {complaint}.")


def read_records(path: Path) -> Iterator[Record]:
    """Yield the objects of a .jsonl, .json or .csv file, in order; blank lines are skipped. Raises ConfigError."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); set task.path to the data.") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        utf_16 = " (it is UTF-16)" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        raise ConfigError(
            f"{path} line {line}: is not UTF-8 text{utf_16} ({error.reason}); save it as UTF-8."
        ) from None
    if path.suffix == ".json":
        whole = _parse(text, str(path), 1)
        items = list(enumerate(whole if isinstance(whole, list) else [whole], start=1))
    elif path.suffix == ".csv":
        items = list(_rows(text, str(path)))
    else:
        lines = enumerate(text.split("\n"), start=1)
        items = [(number, _parse(line, str(path), number)) for number, line in lines if line.strip(_BLANK)]
    for number, item in items:
        if not isinstance(item, dict):
            raise ConfigError(f"{path} line {number}: should be a JSON object, not {_cut(item)}.")
        yield Record(str(path), number, item)


def _rows(text: str, source: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of a CSV with the number of its last line. Raises ConfigError."""
    reader = csv.DictReader(StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ConfigError(f"{source} line {reader.line_num}: has not one value for each name of row 1.")
            yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"{source} line {reader.line_num}: is not CSV ({error}).") from None


def _parse(text: str, source: str, line: int) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        place = f"{source} line {line + error.lineno - 1} column {error.colno}"
        raise ConfigError(f"{place}: is not JSON ({error.msg}).") from None
    except (ValueError, RecursionError) as error:
        message = "a number is too long" if isinstance(error, ValueError) else "nested too deeply"
        raise ConfigError(f"{source} line {line}: is not JSON ({message}).") from None


def _cut(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
