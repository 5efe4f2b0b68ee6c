# SPDX-License-Identifier: Apache-2.0
"""The configuration reference, made from the schema (aflow_env/config) and the YAML files below conf/.

Types and ranges come from the schema; defaults and explanations from the YAML, where each key has its comment. Nothing
is written twice, so the page cannot differ from what the program does. `python -m recipe.site.reference` prints it.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aflow_env.config import AflowConfig, ImplementerConfig, LLMConfig, TaskConfig, config_directory

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?P<rest>.*)$")
_COMMENT = re.compile(r"(?:^|\s)#\s?(?P<text>.*)$")
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
GROUPS: dict[str, type[BaseModel]] = {"task": TaskConfig, "executor": LLMConfig, "implementer": ImplementerConfig}
INTRODUCTION = """# Configuration

Every key of the `aflow:` node. `python -m verl.trainer.main_ppo --config-name aflow_gigpo` takes them below `aflow.`,
`aflow-env` at the root. An unknown key, a value out of range and a combination that cannot work are errors before
anything starts. Everything outside `aflow:` is verl's own config.
"""


@dataclass(frozen=True)
class Entry:
    """A key as a YAML documents it: dotted name, default, explanation."""

    name: str
    default: Any
    said: str


def reference(conf: Path) -> str:
    """Return the page, in Markdown."""
    default = conf / "aflow" / "default.yaml"
    return "\n".join(
        [
            INTRODUCTION,
            *_sections(entries(default), AflowConfig),
            *(line for name, model in GROUPS.items() for line in _group(conf / "aflow" / name, model)),
            *_files(conf),
        ]
    )


def entries(file: Path) -> list[Entry]:
    """Return the keys of a YAML in its order, with sections and comments."""
    values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    said = comments(file.read_text(encoding="utf-8"))
    return [Entry(name, value, said.get(name, "")) for name, value in _flat(values) if name != "defaults"]


def comments(text: str) -> dict[str, str]:
    """Dotted key -> its comment: the one behind it, with the lines of comment alone that follow."""
    found: dict[str, list[str]] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        comment = _COMMENT.search(line)
        code = line[: comment.start()] if comment else line
        if match := _LINE.match(code):
            indent = len(match["indent"])
            path = [part for part in path if part[0] < indent] + [(indent, match["key"])]
        elif code.strip() or not comment or not line.startswith(" "):
            continue  # an item of a list, an empty line, or a comment on what follows
        if comment and path:
            found.setdefault(".".join(key for _, key in path), []).append(comment["text"].strip())
    return {name: " ".join(parts) for name, parts in found.items()}


def legal(field: FieldInfo) -> str:
    """Return a field's type, choices and range as text."""
    bounds = [item for item in field.metadata if not isinstance(item, type)]
    return _legal(field.annotation, bounds)


def _legal(annotation: Any, bounds: Sequence[Any] = ()) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _legal(inner[0], inner[1:])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, UnionType):
        kinds = [_legal(kind, bounds) for kind in inner if kind is not NoneType]
        return " or ".join([*kinds, "null"] if NoneType in inner else kinds)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {int: "whole number", float: "number", str: "text", bool: "true, false", dict: "map", tuple: "list"}
    return " ".join(filter(None, [names[origin or annotation], ", ".join(_bounds(bounds))]))


def _bounds(items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        for part in getattr(item, "metadata", None) or [item]:  # pydantic keeps Field(...) whole inside a union
            for key, words in _BOUNDS.items():
                if (limit := getattr(part, key, None)) is not None:
                    yield f"{words} {limit:g}"


def keys(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Return every key of a schema with its field, sections first, by the user's names."""
    for name, field in model.model_fields.items():
        key = before + (field.alias or name)
        yield key, field
        if (inner := _model(field.annotation)) is not None:
            yield from keys(inner, f"{key}.")


def _model(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _sections(documented: list[Entry], model: type[BaseModel]) -> Iterator[str]:
    """Yield a table of the keys at the root, then one a section."""
    fields = dict(keys(model))
    tops = [entry for entry in documented if "." not in entry.name and not isinstance(entry.default, dict)]
    yield "## The search\n"
    yield from _table(tops, fields)
    for section in (entry for entry in documented if isinstance(entry.default, dict)):
        inside = [entry for entry in documented if entry.name.startswith(f"{section.name}.")]
        yield f"\n## {section.name}\n"
        yield f"{_prose(section.said or _first_line(fields[section.name]))}\n"
        yield from _table(inside, fields)


def _first_line(section: FieldInfo) -> str:
    """Return the schema's account of a section without a comment in the YAML."""
    return ((_model(section.annotation) or BaseModel).__doc__ or "").partition("\n")[0]


def _group(folder: Path, model: type[BaseModel]) -> Iterator[str]:
    """Yield the files of a config group, each with its keys, and after them the keys that no file of it names."""
    name, fields = folder.name, {f"{folder.name}.{key}": field for key, field in keys(model)}
    yield f"\n## {name}\n"
    yield f"`aflow/{name}=NAME` (`aflow-env`: `{name}=NAME`) takes one of these files; single keys go over it.\n"
    files = {file.stem: entries(file) for file in sorted(folder.glob("*.yaml"))}
    if name == "task":
        yield from _tasks(folder, files)
        return
    named = {f"{name}.{entry.name}" for found in files.values() for entry in found}
    for stem, found in files.items():
        yield f"\n### {name}={stem}\n"
        yield f"{_prose(_head(folder / f'{stem}.yaml'))}\n"
        below = [Entry(f"{name}.{entry.name}", entry.default, entry.said) for entry in found]
        yield from _table([entry for entry in below if not isinstance(entry.default, dict)], fields)
    rest = [Entry(key, field.default, "") for key, field in fields.items() if key not in named and _own(key, name)]
    if rest:
        yield f"\n### {name}: keys that no file sets\n"
        yield from _table(rest, fields)


def _own(key: str, group: str) -> bool:
    """Whether the key is the group's own: those of a model below `implementer.llm` are as under executor."""
    return key.count(".") == 1 and key != f"{group}.llm"


def _tasks(folder: Path, files: dict[str, list[Entry]]) -> Iterator[str]:
    fields = {f"task.{key}": field for key, field in keys(TaskConfig)}
    own = {entry.name: entry for entry in files["own"]}
    yield from _table([Entry(f"task.{name}", "", own[name].said) for name in own], fields, defaults=False)
    yield "\n| file | train, validate, test | options | what it is |\n|---|---|---|---|"
    for stem, found in files.items():
        at = {entry.name: entry.default for entry in found}
        sizes = ", ".join(str(at.get(f"{split}_size", 0)) for split in ("train", "validate", "test"))
        options = yaml.safe_dump(at.get("options", {}), default_flow_style=True, width=1_000).strip()
        yield f"| `task={stem}` | {sizes} | {_code(options)} | {_prose(_head(folder / f'{stem}.yaml'))} |"


def _files(conf: Path) -> Iterator[str]:
    yield "\n## The files\n"
    yield "| below `conf/` | what it is |\n|---|---|"
    for file in sorted(conf.rglob("*.yaml")):
        yield f"| `{file.relative_to(conf)}` | {_prose(_head(file))} |"


def _head(file: Path) -> str:
    """Return the comment at the top of a YAML, up to a command in it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    head: list[str] = []
    for line in lines:
        if not line.startswith("#") or line.startswith("#   "):
            break
        head.append(line.lstrip("# ").strip())
    return " ".join(head).removesuffix(":")


def _table(found: list[Entry], fields: dict[str, FieldInfo], defaults: bool = True) -> Iterator[str]:
    yield "| key | default | legal | what it does |" if defaults else "| key | legal | what it does |"
    yield "|---|---|---|---|" if defaults else "|---|---|---|"
    for entry in found:
        cells = [f"`{entry.name}`", *([_default(entry.default)] if defaults else [])]
        yield f"| {' | '.join([*cells, legal(fields[entry.name]), _prose(entry.said)])} |"


def _default(value: Any) -> str:
    if isinstance(value, list) and len(value) > 2:
        return f"{len(value)} phrases"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return _code(value) if str(value) else '`""`'


def _flat(node: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        yield f"{before}{key}", value
        if isinstance(value, dict) and value and not f"{before}{key}".endswith("options"):
            yield from _flat(value, f"{before}{key}.")


def _prose(text: str) -> str:
    """Return a comment as Markdown that means the same text; what stands in backticks stays code."""
    parts = text.split("`")
    plain = [re.sub(r"([|*_\[\]])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    return "`".join(part for pair in zip(plain, [*parts[1::2], ""], strict=False) for part in pair).removesuffix("`")


def _code(value: object) -> str:
    return f"`{str(value).replace('|', chr(92) + '|')}`"


if __name__ == "__main__":
    print(reference(config_directory()))
