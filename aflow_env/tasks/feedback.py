# SPDX-License-Identifier: Apache-2.0
"""Texts that say why an output is wrong, for the proposer of the next edit and for people.

A text says no more than the proposer sees of a failed case: its problem, its gold and its output. About code it comes
from a run of the public tests alone, in processes that never held a hidden test. The run of the hidden tests gives it
nothing, not even how it ended.
"""

import ast
import re

from aflow_env.errors import ConfigError
from aflow_env.tasks.problem import Problem, RunTests

SHOWN = 80
"""Characters of a gold, an output or a test in a text."""
PUBLIC = 20
"""Public tests that are tried."""
PUBLIC_SECONDS = 5.0
NO_CODE = "no code found"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_EACH = """
bool({entry_point})  # a solution that does not load ends here
for shown_, test_ in {tests}:
    try:
        scope_ = dict(globals(), candidate={entry_point})
        exec(test_, scope_)
        if scope_.get("check") is not globals().get("check"):
            scope_["check"](scope_["candidate"])
    except Exception as error_:
        told_ = str(error_) if isinstance(error_, Wrong) else type(error_).__name__ + ": " + str(error_)
        raise Wrong("public test " + shown_ + ": " + told_)
"""


def miss(correct: bool, output: str, why: str) -> str:
    """Return the text of an output: nothing for a correct one, `why` unless it is empty."""
    return "" if correct else why if output.strip() else "the output is empty"


def differs(expected: str, got: str) -> str:
    """Return both, each on one line of at most SHOWN characters."""
    return f"expected {_shown(expected)}, got {_shown(got)}"


async def public_feedback(problem: Problem, solution: str, run_code: RunTests) -> str:
    """Return the first public test that fails, with expected and got, or how many pass. Raises InfrastructureError."""
    if not solution.strip():
        return NO_CODE
    entry_point = str(problem.entry_point)
    tests = [(_shown(_last_line(test)), explained(test, entry_point)) for test in problem.public_tests[:PUBLIC]]
    why = await failure(solution, _EACH.format(tests=repr(tests), entry_point=entry_point), entry_point, run_code)
    return why or hidden_fail(len(tests))


def hidden_fail(public: int) -> str:
    """Return all that may be said of a solution that passes so many public tests."""
    return f"public tests passed: {public}; the hidden tests fail"


async def failure(solution: str, tests: str, entry_point: str, run_code: RunTests) -> str:
    """Return why these tests, which must be public and explained, fail; nothing when they pass.

    Raises InfrastructureError.
    """
    try:
        run = await run_code(solution, f"class Wrong(Exception): pass\n{tests}", entry_point, PUBLIC_SECONDS)
    except ConfigError as error:
        return f"the public tests judge no solution ({error})"
    if run.outcome == "ok":
        return ""
    if run.outcome == "timeout":
        return f"loading it and its public tests takes more than {PUBLIC_SECONDS:g} s"
    return _ADDRESS.sub("", run.error.removeprefix("Wrong: ")) or run.outcome


def explained(tests: str, entry_point: str) -> str:
    """Return the tests with `raise Wrong(...)` for `assert`: the judge keeps the text of an AssertionError to itself.

    Tests that are no Python stay as they are.
    """
    try:
        return ast.unparse(_Explained(entry_point).visit(ast.parse(tests)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return tests


class _Explained(ast.NodeTransformer):
    def __init__(self, entry_point: str) -> None:
        self._calls = {entry_point, "candidate"}

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        holds, told = ast.unparse(node.test), "'it is false'"
        match node:
            case ast.Assert(msg=ast.expr() as message):
                told = ast.unparse(message)
            case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                holds = f"(left_ := {ast.unparse(left)}) == (right_ := {ast.unparse(right)})"
                called = any(isinstance(part, ast.Name) and part.id in self._calls for part in ast.walk(left))
                expected, got = ("right_", "left_") if called else ("left_", "right_")
                told = f"f'expected {{{expected}!r:.{SHOWN}}}, got {{{got}!r:.{SHOWN}}}'"
        return ast.parse(f"if not ({holds}):\n    raise Wrong({told})").body[0]


def _last_line(test: str) -> str:
    return test.strip().rpartition("\n")[2]


def _shown(text: str) -> str:
    line = " ".join(text[: 4 * SHOWN].split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."
