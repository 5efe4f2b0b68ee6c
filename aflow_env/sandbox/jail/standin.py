# SPDX-License-Identifier: Apache-2.0
"""Stand-ins: objects of the other side, which are called, read and passed back, and decide nothing.

A stand-in has the operators that the type of its object has. Each is a request to the side where the object lives, but
for three rules, without which an object could answer for the tests. A comparison or an operation with plain data is
refused by name: only objects of one side are compared and combined with each other. `in` walks over the items. Objects
that have both a length and items must have as many. Standard library only.
"""

import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from aflow_env.sandbox.jail.plain import PLAIN, Refused

Function = Callable[..., Any]

UNARY: dict[str, Function] = {
    "__len__": len,
    "__bool__": bool,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__index__": operator.index,
    "__hash__": hash,
    "__abs__": abs,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__invert__": operator.invert,
    "__round__": round,
    "__trunc__": lambda value: value.__trunc__(),
    "__floor__": lambda value: value.__floor__(),
    "__ceil__": lambda value: value.__ceil__(),
    "__reversed__": reversed,
    "__next__": next,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__enter__": lambda value: value.__enter__(),
    "__exit__": lambda value, *error: value.__exit__(*error),
}
"""Operators of one object: what it gives is its own, and depends on no expected value."""

_ARITHMETIC = [
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "or",
    "xor",
]
_TWO = {name: getattr(operator, f"__{name}__") for name in ("eq", "ne", "lt", "le", "gt", "ge", *_ARITHMETIC)}
BINARY: dict[str, Function] = {
    **{f"__{name}__": function for name, function in _TWO.items()},
    **{f"__i{name}__": getattr(operator, f"__i{name}__") for name in _ARITHMETIC},
    **{
        f"__r{name}__": partial(lambda function, left, right: function(right, left), _TWO[name]) for name in _ARITHMETIC
    },
}
"""Operators of two objects, neither of which may be plain data."""

ALWAYS: dict[str, Function] = {
    "__str__": str,
    "__repr__": repr,
    "__format__": format,
    "__dir__": dir,
    "__getattr__": getattr,
    "__setattr__": setattr,
    "__delattr__": delattr,
}
OPERATIONS: dict[str, Function] = {
    **UNARY,
    **BINARY,
    **ALWAYS,
    "__call__": lambda value, *args, **named: value(*args, **named),
    "__iter__": iter,
    "__instancecheck__": lambda kind, value: isinstance(value, kind),
    "items": list,
    "take": lambda iterator, count: _take(iterator, count),
}
READABLE = ("__name__", "__qualname__", "__doc__", "__dict__", "__module__")
"""The names with underscores around them that a stand-in fetches; all others are its own."""


class Peer(Protocol):
    """The side of the line on which the stand-ins are used."""

    def request(self, operation: str, *args: Any, **named: Any) -> Any:
        """Perform an operation on the other side."""
        ...

    def refuse(self, why: str) -> Refused:
        """The refusal of something that cannot be decided here."""
        ...


class StandIn:
    """An object of the other side."""

    __slots__ = ("_StandIn__ahead", "_StandIn__peer", "_StandIn__taken", "number")
    number: int

    def __init__(self, number: int, peer: Peer) -> None:
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "_StandIn__peer", peer)
        object.__setattr__(self, "_StandIn__ahead", iter(()))
        object.__setattr__(self, "_StandIn__taken", 0)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("__", "_StandIn__")) and name not in READABLE:
            return object.__getattribute__(self, name)
        return self.__peer.request("__getattr__", self, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise self.__peer.refuse("a copy of an object of the other side")


def peer_of(value: StandIn) -> Peer:
    """The side that uses a stand-in."""
    peer: Peer = object.__getattribute__(value, "_StandIn__peer")
    return peer


def number_of(value: StandIn) -> int:
    """The number of a stand-in's object on the other side."""
    number: int = object.__getattribute__(value, "number")
    return number


def operators_of(kind: type) -> list[str]:
    """The operators that a stand-in of this type needs."""
    names = [name for name in (*UNARY, *BINARY, "__call__", "__iter__") if getattr(kind, name, None) is not None]
    own = [name for name in names if getattr(kind, name) is not getattr(object, name, None)]
    lazy = "__next__" in own and (kind.__module__ in ("builtins", "itertools") and "__next__" in vars(kind))
    return [
        *own,
        *(["take"] if lazy else []),
        *(["__instancecheck__"] if issubclass(kind, type) else []),
        *(["__contains__"] if hasattr(kind, "__contains__") else []),
    ]


def stand_in_type(name: str, operators: list[str]) -> type[StandIn]:
    """The class of the stand-ins for a type of that name with those operators."""
    body: dict[str, Any] = {"__slots__": (), "__module__": "solution"}
    for key in operators:
        if key in UNARY or key in ("__call__", "__iter__"):
            body[key] = _asked(key)
        elif key in BINARY:
            body[key] = _between(key)
    body.update({key: _asked(key) for key in ALWAYS if key != "__getattr__"})
    if "__len__" in operators and "__iter__" in operators:
        body["__iter__"] = _all_items
    if "take" in operators:
        body["__next__"], body["__iter__"] = _next, lambda self: self
    if "__instancecheck__" in operators:
        body["__instancecheck__"] = _is_instance
    if "__contains__" in operators and not {"__iter__", "__getitem__"} & set(operators):
        body["__contains__"] = _contains
    return type(name, (StandIn,), body)


def _asked(key: str) -> Function:
    def method(self: StandIn, *args: Any, **named: Any) -> Any:
        return peer_of(self).request(key, self, *args, **named)

    return method


def _between(key: str) -> Function:
    def method(self: StandIn, other: Any) -> Any:
        if isinstance(other, StandIn):
            return peer_of(self).request(key, self, other)
        if other is None or not PLAIN.intersection(type(other).__mro__):
            return NotImplemented
        sign = key.strip("_")
        raise peer_of(self).refuse(
            f"`{sign}` of an object ({type(self).__name__}) of the other side with a {type(other).__name__}: "
            "an object decides nothing about plain data"
        )

    return method


def _take(iterator: Iterator[Any], count: int, late: dict[int, BaseException] = {}) -> list[Any]:  # noqa: B006 -- kept
    """At most `count` items; an error after some of them is raised when more are asked for."""
    if error := late.pop(id(iterator), None):
        raise error
    items: list[Any] = []
    try:
        for _ in range(count):
            items.append(next(iterator))
    except StopIteration:
        pass
    except Exception as error:
        if not items:
            raise
        late[id(iterator)] = error
    return items


def _all_items(self: StandIn) -> Iterator[Any]:
    items = peer_of(self).request("items", self)
    if len(items) != len(self):
        raise peer_of(self).refuse(f"an object ({type(self).__name__}) whose length is not the number of its items")
    return iter(items)


def _next(self: StandIn) -> Any:
    """The next item: asked for one by one at first, then some more at a time."""
    while True:
        for item in object.__getattribute__(self, "_StandIn__ahead"):
            return item
        taken = object.__getattribute__(self, "_StandIn__taken")
        items = peer_of(self).request("take", self, 1 + taken // 16)
        if not items:
            raise StopIteration
        object.__setattr__(self, "_StandIn__ahead", iter(items))
        object.__setattr__(self, "_StandIn__taken", taken + len(items))


def _is_instance(self: StandIn, value: Any) -> bool:
    return isinstance(value, StandIn) and bool(peer_of(self).request("__instancecheck__", self, value))


def _contains(self: StandIn, item: Any) -> bool:
    raise peer_of(self).refuse(
        f"`in` an object ({type(self).__name__}) of the other side that has no items to walk over"
    )
