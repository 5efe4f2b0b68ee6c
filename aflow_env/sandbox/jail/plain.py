# SPDX-License-Identifier: Apache-2.0
"""Plain Python values as JSON and back, and handles for everything else: how a judge and a solution talk.

JSON knows no tuple, set, bytes, complex or NaN; each becomes an object with one key. A subclass becomes its plain base
type, so an object whose `==` always agrees arrives as a number, a string or a handle, and agrees with nothing that it
is not. Standard library only.
"""

import math
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from types import ModuleType
from typing import Any

from aflow_env.sandbox.jail.wire import JSON

MAX_ITEMS = 100_000
"""Of an iterator that is sent, the items that are taken."""

Handle = Callable[[Any], int | None]
"""The number under which the other side knows an object, or None when it cannot be sent."""

_BIG = 1 << 53


def encode(value: Any, handle: Handle) -> JSON:
    """A value as JSON; raises TypeError for what has no handle, RecursionError for what holds itself."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value) if -_BIG < value < _BIG else {"i": hex(value)}
        case float():
            return float(value) if math.isfinite(value) else {"f": repr(float(value))}
        case str():
            return str.__str__(value)
        case list():
            return [encode(item, handle) for item in value]
        case tuple():
            return {"t": [encode(item, handle) for item in value]}
        case set() | frozenset():
            return {"s" if isinstance(value, set) else "z": [encode(item, handle) for item in value]}
        case dict():
            return {"d": [[encode(key, handle), encode(item, handle)] for key, item in value.items()]}
        case bytes() | bytearray():
            return {"b": value.hex()}
        case complex():
            return {"c": [encode(value.real, handle), encode(value.imag, handle)]}
        case range():
            return {"r": [value.start, value.stop, value.step]}
        case Decimal() | Fraction():
            return {"n": [type(value).__name__, str(value)]}
        case ModuleType() if value.__name__ in sys.stdlib_module_names:
            return {"m": value.__name__}
        case Iterator():
            return {"g": [encode(item, handle) for item in islice(value, MAX_ITEMS)]}
    number = handle(value)
    if number is None:
        raise TypeError(f"a {type(value).__name__} cannot be sent to the other side")
    return {"o": number}


def decode(data: JSON, find: Callable[[int], Any]) -> Any:
    """The value that `encode` was given; `find` gives the object for a handle. Raises ValueError for anything else."""
    if isinstance(data, list):
        return [decode(item, find) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise ValueError("not an encoded value")
    ((tag, body),) = data.items()
    match tag:
        case "t" | "s" | "z" | "g":
            kinds: dict[str, Callable[[list[Any]], Any]] = {"t": tuple, "s": set, "z": frozenset, "g": iter}
            return kinds[tag]([decode(item, find) for item in body])
        case "d":
            return {decode(key, find): decode(item, find) for key, item in body}
        case "b":
            return bytes.fromhex(body)
        case "i":
            return int(body, 16)
        case "f":
            return float(body)
        case "c":
            return complex(*(decode(part, find) for part in body))
        case "r":
            return range(*body)
        case "n":
            return {"Decimal": Decimal, "Fraction": Fraction}[body[0]](body[1])
        case "m" if body in sys.stdlib_module_names:
            return __import__(body)
        case "o":
            return find(body)
    raise ValueError(f"not an encoded value: {tag!r}")
