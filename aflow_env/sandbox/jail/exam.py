# SPDX-License-Identifier: Apache-2.0
"""Tests and the solution they judge, inside two jails: the solution never shares a process with the tests.

The solution's child executes the solution and answers calls of its objects. The judge's child executes the tests, in
which the solution's names are stand-ins that send their arguments over and return what comes back. A solution cannot
read the expected values, answer for the tests, patch them, leave early with success or return an object that equals
everything. Standard library only.
"""

import builtins
import inspect
from collections.abc import Callable
from typing import Any

from aflow_env.sandbox.jail.link import Link, failure, load, run
from aflow_env.sandbox.jail.plain import decode, encode
from aflow_env.sandbox.jail.wire import JSON, short

_GETATTR, _SETATTR = 0, 1
"""The first two objects of every solution."""


class SolutionError(Exception):
    """An exception of the solution that has no builtin type of its name."""


def serve_solution(link: Link, code: str) -> None:
    """Execute the solution, name its objects to the parent, and answer calls until the pipe closes."""
    objects: list[Any] = [getattr, setattr]

    def handle(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    try:
        names = {}
        for name, value in load(code, "solution").items():
            if not name.startswith("__"):
                try:
                    names[name] = encode(value, handle)
                except (TypeError, RecursionError):
                    continue
        link.send({"ready": True, "names": names})
    except BaseException as error:
        link.send(failure(0, error))
        return
    while True:
        frame = link.receive()
        link.send({"id": frame["id"], **_answer(frame, objects, handle)})


def _answer(frame: dict[str, JSON], objects: list[Any], handle: Callable[[Any], int]) -> dict[str, JSON]:
    try:
        before = frame["args"]
        args = [decode(argument, objects.__getitem__) for argument in before]
        named = {name: decode(value, objects.__getitem__) for name, value in frame["named"].items()}
        value = run(objects[frame["object"]], *args, **named)
        changed = {
            str(i): after
            for i, argument in enumerate(args)
            if isinstance(argument, list | dict | set) and (after := encode(argument, handle)) != before[i]
        }
        return {"value": encode(value, handle), "changed": changed}
    except BaseException as error:
        return {"raises": type(error).__name__, "text": short(error), "from": failure(0, error)["outcome"]}


class StandIn:
    """An object of the solution, as the tests see it: called, passed back, its attributes read and set.

    It equals itself alone, whatever the solution's `__eq__` would say.
    """

    __slots__ = ("_call", "_number")

    def __init__(self, number: int, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._call(self._number, args, named)

    def __getattr__(self, name: str) -> Any:
        return self._call(_GETATTR, (self, name), {})

    def __setattr__(self, name: str, value: Any) -> None:
        self._call(_SETATTR, (self, name, value), {})


class Judge:
    """The tests' side of the line."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls = 0

    def judge(self, tests: str, names: dict[str, JSON], entry_point: str) -> bool:
        """Execute `tests` among stand-ins for the solution's names, then `check(candidate)` or `check()` if defined."""
        namespace = {name: self._decode(value) for name, value in names.items()}
        namespace["__name__"] = "tests"
        try:
            exec(compile(tests, "tests.py", "exec"), namespace)
            check = namespace.get("check")
            if check is not None and not isinstance(check, StandIn):  # not the solution's own function of that name
                arguments = [namespace[entry_point]] if inspect.signature(check).parameters else []
                run(check, *arguments)
        except AssertionError:
            raise AssertionError from None  # the tests' own words may give their answers away
        return True

    def _decode(self, data: JSON) -> Any:
        return decode(data, lambda number: StandIn(number, self._call))

    def _call(self, number: int, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._calls += 1
        sent = [encode(argument, _number) for argument in args]
        sent_named = {name: encode(argument, _number) for name, argument in named.items()}
        self._link.send({"id": self._calls, "object": number, "args": sent, "named": sent_named})
        reply = self._link.receive()
        if "raises" in reply:
            raise _exception(reply)
        for i, after in reply["changed"].items():
            _overwrite(args[int(i)], self._decode(after))
        return self._decode(reply["value"])


def _number(value: Any) -> int | None:
    return value._number if isinstance(value, StandIn) else None


def _exception(reply: dict[str, JSON]) -> BaseException:
    name, text = str(reply["raises"]), str(reply["text"])
    if reply["from"] == "violation":
        return PermissionError(f"{name}: {text}")
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError and the like want more than a text
            pass
    return SolutionError(f"{name}: {text}")


def _overwrite(target: Any, value: Any) -> None:
    """Do to the tests' own list, dict or set what the solution did to its copy."""
    target.clear()
    target.extend(value) if isinstance(target, list) else target.update(value)
