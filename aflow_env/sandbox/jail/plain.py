# SPDX-License-Identifier: Apache-2.0
"""Values that travel between tests and a solution, as JSON and back. Standard library only.

The other side rebuilds plain data from its own types. A subclass becomes its plain base, so an object whose `==` always
agrees arrives as its own number or text. Any other object travels as its number (sides.py). Lists, dicts and
sets have one identity within an exchange: both sides count them in order, and `{"a": n}` is the n-th of them.
"""

import builtins
import re
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from math import isfinite
from types import TracebackType
from typing import Any, Protocol
from uuid import UUID

from aflow_env.sandbox.jail.wire import JSON, MAX_DEPTH

LEVELS = MAX_DEPTH - 6
"""How deep the JSON of one value may nest. The rest is the frame's."""

_SAFE = 1 << 53


class Refused(BaseException):
    """A value or an operation that cannot cross between tests and solution. The text names it."""


class Objects(Protocol):
    """References to objects (sides.py). `finite` refuses nan and inf of the other side."""

    finite: bool

    def number(self, value: Any) -> JSON: ...
    def find(self, tag: str, body: JSON) -> Any: ...


def _zone(value: datetime | time) -> timezone | None:
    if value.tzinfo is None or type(value.tzinfo) is timezone:
        return value.tzinfo
    raise Refused(f"a {type(value).__name__} with the time zone {value.tzinfo}; datetime.timezone can cross")


_PARTS: dict[type, tuple[Callable[[Any], Any], Callable[..., Any]]] = {  # immutable type -> (its parts, how it is made)
    complex: (lambda v: [v.real, v.imag], complex),
    range: (lambda v: [v.start, v.stop, v.step], range),
    slice: (lambda v: [v.start, v.stop, v.step], slice),
    Decimal: (lambda v: [str(v)], Decimal),
    Fraction: (lambda v: [v.numerator, v.denominator], Fraction),
    date: (lambda v: [v.year, v.month, v.day], date),
    datetime: (
        lambda v: [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, _zone(v), v.fold],
        lambda *parts: datetime(*parts[:-1], fold=parts[-1]),
    ),
    time: (
        lambda v: [v.hour, v.minute, v.second, v.microsecond, _zone(v), v.fold],
        lambda *parts: time(*parts[:-1], fold=parts[-1]),
    ),
    timedelta: (lambda v: [v.days, v.seconds, v.microseconds], timedelta),
    timezone: (lambda v: [v.utcoffset(None)], timezone),
    UUID: (lambda v: [v.hex], UUID),
    re.Pattern: (lambda v: [v.pattern, v.flags], re.compile),
    type({}.keys()): (lambda v: list(v), lambda *items: dict.fromkeys(items).keys()),
    type({}.values()): (lambda v: list(v), lambda *items: dict(enumerate(items)).values()),
    type({}.items()): (lambda v: list(v), lambda *items: dict(items).items()),
}
_NAMED = {kind.__name__: kind for kind in _PARTS}
_DICTS = {kind.__name__: kind for kind in (dict, Counter, OrderedDict, defaultdict)}
_SIMPLE = (bool, int, float, str, bytes, bytearray, tuple, list, set, frozenset, deque)
PLAIN = frozenset((type(None), *_SIMPLE, *_PARTS, *_DICTS.values()))
EXCEPTIONS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, StopIteration | StopAsyncIteration)
}
TYPES = {kind.__name__: kind for kind in (*_SIMPLE, *_PARTS, *_DICTS.values(), object)} | EXCEPTIONS
"""The types that may be named to the judge."""


@cache
def plain_type(kind: Any) -> type | None:
    """Return the plain type as which instances of `kind` travel, or None for types that add names of their own."""
    base = next((parent for parent in kind.__mro__ if parent in PLAIN), None)
    if base is None or issubclass(kind, Enum):
        return base
    own = {name for parent in kind.__mro__[: kind.__mro__.index(base)] for name in vars(parent) if name[0] != "_"}
    return None if own - set(fields_of(kind)) else base


def fields_of(kind: type) -> tuple[str, ...]:
    """Return the fields of a named tuple's type."""
    return tuple(getattr(kind, "_fields", ())) if issubclass(kind, tuple) else ()


@cache
def _named_tuple(name: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    return namedtuple(name, fields)  # checks that they are names and no keywords


def state(container: Any) -> tuple[Any, ...]:
    """Return the items of a container (of a dict: keys and values), to be compared by identity."""
    return tuple(item for pair in container.items() for item in pair) if isinstance(container, dict) else (*container,)


def refill(container: Any, items: list[Any]) -> Any:
    """Replace the contents of a container by `items` (of a dict: its pairs)."""
    container.clear()
    if isinstance(container, dict):
        for key, value in items:
            container[key] = value
    else:
        (container.update if isinstance(container, set) else container.extend)(items)
    return container


class Values:
    """The coder of one exchange. `shared` are its containers in order."""

    def __init__(self, objects: Objects) -> None:
        self.shared: list[Any] = []
        self._objects = objects
        self._met: dict[int, int] = {}

    def forget(self) -> None:
        """Send the contents of the shared containers where they occur next, instead of their index."""
        self._met.clear()

    def encode(self, value: Any, left: int = LEVELS) -> JSON:
        """Return a value as JSON. Raises Refused, naming the object that cannot cross."""
        if left <= 0:
            raise Refused(f"a value that is nested more than {LEVELS} levels deep")
        if id(value) in self._met:
            return {"a": self._met[id(value)]}
        own: Any = type(value)
        kind = plain_type(own)
        if kind in _PARTS:
            return {"k": [kind.__name__, [self.encode(part, left - 3) for part in _PARTS[kind][0](value)]]}
        if kind in (list, set, deque, bytearray) or kind in _DICTS.values():
            self._share(value)
        match value:
            case _ if kind is None:
                return self._other(value, left)
            case None | bool():
                return value
            case int():
                return int(value) if -_SAFE < value < _SAFE else {"i": hex(value)}
            case float():
                return float(value) if isfinite(value) else {"f": repr(float(value))}
            case str():
                text = str.__str__(value)
                whole = text.isascii() or text.encode("utf-8", "replace").decode() == text
                return text if whole else {"u": text.encode("utf-8", "surrogatepass").hex()}
            case bytes() | bytearray():
                return {"b" if isinstance(value, bytes) else "B": value.hex()}
            case tuple() if names := fields_of(own):
                return {"n": [own.__name__, names, self.contents(value, left - 2)]}
            case deque():
                return {"q": [value.maxlen, self.contents(value, left - 2)]}
            case dict() if kind is not dict:
                factory = self.encode(getattr(value, "default_factory", None), left - 2)
                return {"D": [kind.__name__, factory, self.contents(value, left - 2)]}
        items = self.contents(value, left - (kind is not list))
        tags = {tuple: "t", set: "s", frozenset: "z", dict: "d"}
        return items if kind is list else {tags[kind]: items}  # type: ignore[index]

    def contents(self, container: Any, left: int = LEVELS) -> list[JSON]:
        """Return the items of a container (of a dict: its pairs) as JSON."""
        if isinstance(container, dict):
            return [[self.encode(key, left - 2), self.encode(value, left - 2)] for key, value in container.items()]
        return [self.encode(item, left - 1) for item in container]

    def decode(self, data: JSON) -> Any:
        """Return the value of some JSON. Raises Refused for a refused number, any Exception for JSON of no value."""
        if isinstance(data, list):
            return self._fill([], data)
        if not isinstance(data, dict):
            return data
        ((tag, body),) = data.items()
        match tag:
            case "a":
                return self.shared[_index(body)]
            case "t" | "z":
                return (tuple if tag == "t" else frozenset)([self.decode(item) for item in body])
            case "s" | "d":
                return self._fill(set() if tag == "s" else {}, body)
            case "b":
                return bytes.fromhex(body)
            case "B":
                return self._share(bytearray.fromhex(body))
            case "i":
                return int(body, 16)
            case "u":
                return bytes.fromhex(body).decode("utf-8", "surrogatepass")
            case "f":
                return self._checked(float(body))
            case "k":
                return self._checked(_PARTS[_NAMED[body[0]]][1](*(self.decode(part) for part in body[1])))
            case "n":
                return _named_tuple(body[0], tuple(body[1]))(*(self.decode(item) for item in body[2]))
            case "q":
                return self._fill(deque(maxlen=body[0]), body[1])
            case "D":
                made: dict[Any, Any] = _DICTS[body[0]]()
                self._share(made)
                if isinstance(made, defaultdict):
                    made.default_factory = self.decode(body[1])
                return refill(made, [(self.decode(key), self.decode(value)) for key, value in body[2]])
            case "e":
                return EXCEPTIONS[body[0]](*(self.decode(part) for part in body[1]))
        return self._objects.find(tag, body)

    def refill(self, index: int, items: list[JSON]) -> None:
        """Give a shared container the contents of the other side's copy."""
        container = self.shared[_index(index)]
        pairs = isinstance(container, dict)
        refill(container, [(*map(self.decode, item),) if pairs else self.decode(item) for item in items])

    def exception(self, error: BaseException) -> JSON:
        """Return an exception as its nearest built-in type, with its arguments where they are plain."""
        kinds = (parent for parent in type(error).__mro__ if EXCEPTIONS.get(parent.__name__) is parent)
        kind = next(kinds, RuntimeError)
        try:
            return {"e": [kind.__name__, [Values(self._objects).encode(part) for part in error.args]]}
        except Refused:
            return {"e": [kind.__name__, [str(error)]]}

    def _other(self, value: Any, left: int) -> JSON:
        if isinstance(value, TracebackType):
            return None
        if isinstance(value, Exception) and EXCEPTIONS.get(type(value).__name__) is type(value):
            return self.exception(value)
        return self._objects.number(value)

    def _fill(self, container: Any, items: list[JSON]) -> Any:
        self._share(container)
        self.refill(len(self.shared) - 1, items)
        return container

    def _share(self, container: Any) -> Any:
        self._met[id(container)] = len(self.shared)
        self.shared.append(container)
        return container

    def _checked(self, value: Any) -> Any:
        if self._objects.finite and isinstance(value, float | Decimal) and not isfinite(value):
            raise Refused(f"the number {value}, which no test mentions")
        return value


def _index(number: JSON) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"no index: {number!r:.20}")
    return number
