# SPDX-License-Identifier: Apache-2.0
"""Both ends of the line between tests and solution: requests about each other's objects, and answers.

The sides take turns. A request passes the turn, and so does its reply. While one side waits for a reply, the other may
make a request of its own, to call a function that it was given. Standard library only.
"""

import sys
import threading
from importlib import import_module
from operator import is_not
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

from aflow_env.sandbox.jail.plain import TYPES, Refused, Values, state
from aflow_env.sandbox.jail.standin import OPERATIONS, StandIn, number_of, operators_of, stand_in_type
from aflow_env.sandbox.jail.wire import JSON, FrameError, Link, failure, run, short

DEEPEST = 75  # requests of one side that may be under way at a time, each made to answer the one before


class Side:
    """One end: its own objects by number, its stand-ins for the other end's objects, requests and answers."""

    finite = False

    def __init__(self, link: Link) -> None:
        self.asked = 0
        self.depth = 0
        self.unseen_changes = False
        self._link = link
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._types: list[type] = []
        self._stand_ins: dict[int, StandIn] = {}
        self._stand_in_types: dict[int, type[StandIn]] = {}
        self._lock = threading.RLock()

    # requests

    def request(self, operation: str, *args: Any, **named: Any) -> Any:
        """Have the other side perform an operation. Raise here the exception that it raises there."""
        with self._lock:
            error, value = self.exchange(operation, args, named)
        if error is not None:
            raise error
        return value

    def exchange(self, operation: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Make one request. Returns (the exception to raise, None) or (None, the value)."""
        if self.depth >= DEEPEST:
            raise Refused(f"more than {DEEPEST} calls within each other")
        values = Values(self)
        self.asked += 1
        number = self.asked
        encoded = {"args": [*map(values.encode, args)], "named": {k: values.encode(v) for k, v in named.items()}}
        self._send({"id": number, "op": operation, **encoded})
        self.depth += 1
        try:
            while "op" in (reply := self._link.receive()):
                self._send(self.answer(reply))
        finally:
            self.depth -= 1
        if reply["id"] != number:
            raise FrameError(f"a reply to {reply['id']!r:.20} where {number} was due")
        return self._outcome(operation, reply, values)

    def _outcome(self, operation: str, reply: dict[str, JSON], values: Values) -> Any:
        match reply:
            case {"refused": str(why)}:
                raise Refused(why)
            case {"stopped": _} if operation == "__next__":
                return StopIteration(), None
            case {"raises": raised, "name": str(name), "text": str(text), "blocked": bool(blocked)}:
                theirs = _named(values.decode(raised), name, text)
                theirs.__cause__ = PermissionError() if blocked else None
                return theirs, None
        value = values.decode(reply["value"])
        for index, items in reply["changed"]:
            if value is None:
                values.refill(index, items)
            else:
                self.unseen_changes = True
        return None, value

    # answers

    def answer(self, frame: dict[str, JSON]) -> dict[str, JSON]:
        """Perform the operation that the other side asks for and return the frame that replies."""
        number, operation, values = frame["id"], frame["op"], Values(self)
        try:
            args = [values.decode(value) for value in frame["args"]]
            named = {name: values.decode(value) for name, value in frame["named"].items()}
            self.permit(operation, *args)
            before = [state(container) for container in values.shared]
            value = run(OPERATIONS[operation], *args, **named)
            return {"id": number, **_returned(value, values, before)}
        except Refused as error:
            return {"id": number, "refused": short(error)}
        except BaseException as raised:
            if operation == "__next__" and isinstance(raised, StopIteration):
                return {"id": number, "stopped": True}
            shown = self.reported(raised)
            blocked = failure(0, shown)["outcome"] == "violation"
            said = {"name": type(shown).__name__, "text": short(shown), "blocked": blocked}
            return {"id": number, "raises": values.exception(shown), **said}

    def reported(self, error: BaseException) -> BaseException:
        """Return the exception that the other side gets."""
        return error

    def permit(self, operation: str, target: Any, *args: Any) -> None:
        """Raise an Exception for an operation that the other side may not do with an object of this side."""

    def _send(self, frame: dict[str, JSON]) -> None:
        try:
            self._link.send(frame)
        except FrameError as error:
            raise Refused(f"a value that is too large: {error}") from None

    # objects

    def show(self, value: Any) -> int:
        """Return the number of an object, under which the other side may ask for it."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return self._numbers[id(value)]

    def check(self, value: Any) -> None:
        """Raise Refused for an object that may not cross, not even by number."""

    def number(self, value: Any) -> JSON:
        """Return the reference to an object: mine, yours, or one that both sides can look up by its name."""
        if isinstance(value, StandIn):
            return {"y": number_of(value)}
        if name := self.name(value):
            return {"p": name}
        self.check(value)
        number, kind = self.show(value), type(value)
        if kind in self._types:
            return {"o": [number, self._types.index(kind)]}
        self._types.append(kind)
        return {"o": [number, len(self._types) - 1, kind.__name__, operators_of(kind)]}

    def find(self, tag: str, body: JSON) -> Any:
        """Return the object of a reference. Raises any Exception when there is none."""
        if tag == "p":
            return self.look_up(body)
        if tag == "y":
            return self._objects[body if body >= 0 else len(self._objects)]
        if tag != "o":
            raise ValueError(f"no value: {tag!r:.20}")
        number, kind, *new = body
        if new and kind not in self._stand_in_types:
            name = new[0] if new[0].isidentifier() and len(new[0]) < 100 else "object"
            self._stand_in_types[kind] = stand_in_type(name, new[1])
        if number not in self._stand_ins:
            self._stand_ins[number] = self._stand_in_types[kind](number, self)
        return self._stand_ins[number]

    def name(self, value: Any) -> str:
        """Return the name under which the other side has the same object, or nothing."""
        return value.__name__ if isinstance(value, type) and TYPES.get(value.__name__) is value else ""

    def look_up(self, name: JSON) -> Any:
        """Return the object that the other side names."""
        return TYPES[name]

    def refuse(self, why: str) -> Refused:
        """Return the refusal of an operation that this side cannot decide."""
        return Refused(why)


class SolutionSide(Side):
    """The solution's end. It performs every request."""

    def look_up(self, name: JSON) -> Any:
        module, _, path = name.partition(":")
        value: Any = import_module(module) if path else TYPES[module]
        for part in path.split(".") if path else ():
            value = getattr(value, part)
        return value

    def serve(self, entry: Any) -> None:
        """Answer requests until the pipe closes. `entry` is object 0, of a type 0 that no other object has."""
        self.show(entry)
        self._types.append(type(self))
        while True:
            frame = self.answer(self._link.receive())
            try:
                self._send(frame)
            except Refused as error:
                self._link.send({"id": frame["id"], "refused": str(error)})


def _returned(value: Any, values: Values, before: list[tuple[Any, ...]]) -> dict[str, JSON]:
    """Return the result of a call and the arguments that it changed, with their contents where the result is None."""
    after = map(state, values.shared)
    changed = [
        i
        for i, (old, new) in enumerate(zip(before, after, strict=True))
        if len(old) != len(new) or any(map(is_not, old, new))
    ]
    if value is None:
        return {"value": None, "changed": [[i, values.contents(values.shared[i])] for i in changed]}
    if changed:
        values.forget()
    return {"value": values.encode(value), "changed": [[i, []] for i in changed]}


def _named(error: Exception, name: str, text: str) -> Exception:
    """Return the exception, or one of class `name` below it for a class that only the other side has."""
    if type(error).__name__ == name:
        return error
    kind = type(name, (type(error),), {"__module__": "solution", "__str__": lambda self: text})
    made: Exception = kind(*error.args)
    return made


def public_name(value: Any) -> str:
    """Return `module:path` of a function or class of the standard library, or nothing for anything else."""
    if not isinstance(value, type | FunctionType | BuiltinFunctionType | MethodDescriptorType | WrapperDescriptorType):
        return ""
    module = getattr(getattr(value, "__objclass__", value), "__module__", None)
    found: Any = sys.modules.get(module) if module and module.split(".")[0] in sys.stdlib_module_names else None
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return f"{module}:{value.__qualname__}" if found is value else ""
