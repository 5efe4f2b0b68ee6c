# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for objects of the other side: the tests call, read and return them, and they decide nothing.

A stand-in has the operators of its object's type. Each is a request to the side of the object, with three exceptions:
an object must not answer for the tests. A comparison or an operation with plain data is refused by name,
so only objects of one side are compared and combined with each other. `in` walks over the items. An object that has
both a length and items must have as many. Standard library only.
"""

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aflow_env.sandbox.jail.plain import PLAIN

if TYPE_CHECKING:
    from aflow_env.sandbox.jail.sides import Side

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
"""Operators of one object. Their results depend on no expected value."""


def _reflected(name: str) -> Function:
    function: Function = getattr(operator, f"__{name}__")
    return lambda left, right: function(right, left)


_ARITHMETIC = "add sub mul matmul truediv floordiv mod pow lshift rshift and or xor".split()  # noqa: SIM905
_IN_PLACE = [f"i{name}" for name in _ARITHMETIC]
BINARY: dict[str, Function] = {
    f"__{name}__": getattr(operator, f"__{name}__")
    for name in ("eq", "ne", "lt", "le", "gt", "ge", *_ARITHMETIC, *_IN_PLACE)
} | {f"__r{name}__": _reflected(name) for name in _ARITHMETIC}
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
}
READABLE = ("__name__", "__qualname__", "__doc__", "__dict__", "__module__")
"""The dunder names that a stand-in fetches from its object."""


class StandIn:
    """An object of the other side."""

    __slots__ = ("_StandIn__ahead", "_StandIn__peer", "_StandIn__taken", "number")
    number: int

    def __init__(self, number: int, peer: "Side") -> None:
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


def _peer(value: StandIn) -> "Side":
    peer: Side = object.__getattribute__(value, "_StandIn__peer")
    return peer


def number_of(value: StandIn) -> int:
    """Return the number of a stand-in's object on the other side."""
    number: int = object.__getattribute__(value, "number")
    return number


def operators_of(kind: type) -> list[str]:
    """Return the operators that a stand-in for an object of this type needs."""
    names = [name for name in (*UNARY, *BINARY, "__call__", "__iter__") if getattr(kind, name, None) is not None]
    own = [name for name in names if getattr(kind, name) is not getattr(object, name, None)]
    more = {
        "take": "__next__" in vars(kind) and "__next__" in own and kind.__module__ in ("builtins", "itertools"),
        "__instancecheck__": issubclass(kind, type),
        "__contains__": hasattr(kind, "__contains__"),
    }
    return [*own, *(name for name, needed in more.items() if needed)]


def stand_in_type(name: str, operators: list[str]) -> type[StandIn]:
    """Make the class of the stand-ins for a type of this name with these operators."""
    body: dict[str, Any] = {"__slots__": (), "__module__": "solution"}
    body |= {key: _asked(key) for key in operators if key in UNARY or key in ("__call__", "__iter__")}
    body |= {key: _between(key) for key in operators if key in BINARY}
    body |= {key: _asked(key) for key in ALWAYS if key != "__getattr__"}
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
        return _peer(self).request(key, self, *args, **named)

    return method


def _between(key: str) -> Function:
    def method(self: StandIn, other: Any) -> Any:
        if isinstance(other, StandIn):
            return _peer(self).request(key, self, other)
        if other is None or not PLAIN.intersection(type(other).__mro__):
            return NotImplemented
        raise _peer(self).refuse(
            f"`{key.strip('_')}` of an object ({type(self).__name__}) of the other side with a {type(other).__name__}: "
            "an object decides nothing about plain data"
        )

    return method


def _take(iterator: Iterator[Any], count: int, late: dict[int, BaseException] = {}) -> list[Any]:  # noqa: B006 -- stays
    """Return at most `count` items. An error after some of them is raised by the next call."""
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


OPERATIONS["take"] = _take


def _all_items(self: StandIn) -> Iterator[Any]:
    items = _peer(self).request("items", self)
    if len(items) != len(self):
        raise _peer(self).refuse(f"an object ({type(self).__name__}) whose length is not the number of its items")
    return iter(items)


def _next(self: StandIn) -> Any:
    """Return the next item. The first ones are fetched one by one, later ones several at a time."""
    while True:
        for item in object.__getattribute__(self, "_StandIn__ahead"):
            return item
        taken = object.__getattribute__(self, "_StandIn__taken")
        items = _peer(self).request("take", self, 1 + taken // 16)
        if not items:
            raise StopIteration
        object.__setattr__(self, "_StandIn__ahead", iter(items))
        object.__setattr__(self, "_StandIn__taken", taken + len(items))


def _is_instance(self: StandIn, value: Any) -> bool:
    return isinstance(value, StandIn) and bool(_peer(self).request("__instancecheck__", self, value))


def _contains(self: StandIn, item: Any) -> bool:
    why = f"`in` an object ({type(self).__name__}) of the other side that has no items to walk over"
    raise _peer(self).refuse(why)
