# SPDX-License-Identifier: Apache-2.0
"""Tests and the solution that they judge, in two jails: the solution never shares a process with the tests.

The solution's child executes the solution and answers requests about its objects. The judge's child executes the tests.
One name of the tests comes from the solution: the entry point, a stand-in that sends its arguments over and returns the
plain data that comes back. So a solution cannot read the expected values, decide what another name of the tests means,
answer for the tests, leave early with success or return an object that equals everything. Standard library only.
"""

import builtins
import inspect
import re
from collections.abc import Iterator
from typing import Any

from aflow_env.sandbox.jail.plain import Refused
from aflow_env.sandbox.jail.sides import Side, SolutionSide, public_name
from aflow_env.sandbox.jail.standin import BINARY, UNARY, StandIn
from aflow_env.sandbox.jail.wire import JSON, Link, failure, load, run

_NOT_FINITE = re.compile(r"(?<![a-z])(?:is)?(?:nan|inf|infinity|finite)\b", re.IGNORECASE)
ENTRY = [*UNARY, *BINARY, "__call__", "__iter__", "__instancecheck__", "__contains__"]
"""The operators of the stand-in for the entry point."""
_TELLING = ("__name__", "__qualname__", "__doc__", "__module__")


def serve_solution(link: Link, code: str, entry_point: str) -> None:
    """Execute the solution, show its entry point, and answer until the pipe closes."""
    try:
        names = load(code, "solution")
        if entry_point not in names:
            raise NameError(f"the solution does not define {entry_point}")
        side = SolutionSide(link)
        entry = names[entry_point]
        link.send({"ready": True, "entry": type(entry).__name__})
    except BaseException as error:
        link.send(failure(0, error))
        return
    side.serve(entry)


def judge(link: Link, tests: str, entry: str, entry_point: str) -> dict[str, JSON]:
    """Execute `tests`, then `check(candidate)` or `check()` if they define it, and return the frame that ends the exam.

    Its outcome is `unfit` for tests that fail before they call the solution, that never call it, or that give it an
    object that cannot cross to it.
    """
    side = Judge(link, tests)
    namespace: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    error: BaseException | None = None
    try:
        # It has every operator, so that the solution cannot cause an error before the first request.
        candidate = side.find("o", [0, 0, entry, ENTRY])
        takes_it = re.search(r"^(?:async\s+)?def\s+check\s*\(\s*\w", tests, re.MULTILINE)
        if not (takes_it and hasattr(builtins, entry_point)):
            namespace[entry_point] = candidate
        exec(compile(tests, "tests.py", "exec"), namespace)
        check = namespace.get("check")
        if callable(check) and not isinstance(check, StandIn):
            run(check, *([candidate] if inspect.signature(check).parameters else []))
    except BaseException as raised:
        error = raised
    return side.verdict(error)


class Judge(Side):
    """The tests' end. It believes nothing: an unexpected frame ends the tests as a violation."""

    def __init__(self, link: Link, tests: str) -> None:
        super().__init__(link)
        self.finite = not _NOT_FINITE.search(tests)
        self._ended: dict[str, JSON] | None = None

    def verdict(self, error: BaseException | None) -> dict[str, JSON]:
        """Return the frame that ends the exam. An early end counts, even if the tests caught its exception."""
        if self._ended:
            return self._ended
        if not self.asked:
            why = f"they fail before they call it: {failure(0, error)['error']}" if error else "they never call it"
            return {"end": 0, "outcome": "unfit", "error": why}
        if error is None:
            return {"end": 0, "outcome": "ok", "value": True}
        if not isinstance(error, AssertionError):
            return failure(0, error)
        unseen = " (a call with a result changed an argument: tests see only the changes by calls without a result)"
        # The text of the error stays out: it may give the tests' answers away.
        return {"end": 0, "outcome": "crash", "error": "AssertionError" + unseen * self.unseen_changes}

    def refuse(self, why: str) -> Refused:
        return self._end("crash", f"Refused: {why}")

    def exchange(self, *request: Any) -> Any:
        if self._ended:
            raise Refused(self._ended["error"])
        try:
            return super().exchange(*request)
        except Refused as error:
            raise self.refuse(str(error)) from None
        except (RecursionError, MemoryError):
            raise
        except Exception as error:
            raise self._end("violation", f"broker: no reply: {type(error).__name__}") from None

    def answer(self, frame: dict[str, JSON]) -> dict[str, JSON]:
        reply = super().answer(frame)
        if "refused" in reply:
            raise self.refuse(reply["refused"])
        return reply

    def reported(self, error: BaseException) -> BaseException:
        return AssertionError() if isinstance(error, AssertionError) else error

    def name(self, value: Any) -> str:
        return super().name(value) or public_name(value)

    def check(self, value: Any) -> None:
        """Let functions, iterators and the tests' own classes and objects cross. Anything else ends the exam."""
        kind = type(value)
        is_walked = isinstance(value, Iterator) and kind.__module__ in ("builtins", "itertools")
        if not (_of_tests(value) or callable(value) or is_walked):
            why = f"they pass a {kind.__module__}.{kind.__name__}, which cannot cross to the solution"
            raise self._end("crash" if self.depth else "unfit", why)

    def permit(self, operation: str, target: Any, *args: Any) -> None:
        """Let functions be called and iterators walked, and public names of the tests' own objects read and written."""
        if id(target) not in self._numbers:
            raise TypeError("an operation on no object of the tests")
        name = str(args[0]) if operation in ("__getattr__", "__setattr__", "__delattr__") else ""
        if operation == "__call__" and callable(target):
            return
        if operation in ("take", "__next__", "__iter__", "__str__", "__repr__", "__hash__") and not _of_tests(target):
            return
        if operation == "__getattr__" and name in _TELLING:
            return
        if not _of_tests(target) or name.startswith("_"):
            raise AttributeError(f"a {type(target).__name__} of the tests shows the solution no {name or operation}")
        if operation in ("__setattr__", "__delattr__") and (isinstance(target, type) or hasattr(type(target), name)):
            raise AttributeError(f"{name} of the tests cannot be set by the solution")

    def _end(self, outcome: str, why: str) -> Refused:
        self._ended = self._ended or {"end": 0, "outcome": outcome, "error": why}
        return Refused(why)


def _of_tests(value: Any) -> bool:
    """Return whether the tests define the class, or the class of the object."""
    return (value if isinstance(value, type) else type(value)).__module__ == "tests"
