# SPDX-License-Identifier: Apache-2.0
"""Write the reason why an output is wrong, for the proposer of the next edit and for people.

The text uses only the problem, the gold and the output, which the proposer sees too. For code it comes from a run of
the public tests alone, in processes that never had a hidden test. It has nothing of the run of the hidden tests, not
even its outcome.
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
    """Return the feedback of an output: "" for a correct one, else `why`, or that the output is empty."""
    return "" if correct else why if output.strip() else "the output is empty"


def differs(expected: str, got: str) -> str:
    """Return a text with both, each on one line of at most SHOWN characters."""
    return f"expected {_shown(expected)}, got {_shown(got)}"


async def public_feedback(problem: Problem, solution: str, run_code: RunTests) -> str:
    """Return the first failed public test with its values, or how many passed. Raises InfrastructureError."""
    if not solution.strip():
        return NO_CODE
    entry_point = str(problem.entry_point)
    public = problem.public_tests[:PUBLIC]
    tests = [(_shown(test.strip().rpartition("\n")[2]), explained(test, entry_point)) for test in public]
    why = await failure(solution, _EACH.format(tests=repr(tests), entry_point=entry_point), entry_point, run_code)
    return why or hidden_fail(len(tests))


def hidden_fail(public: int) -> str:
    """Return the feedback of a solution that passes so many public tests and fails a hidden one."""
    return f"public tests passed: {public}; the hidden tests fail"


async def failure(solution: str, tests: str, entry_point: str, run_code: RunTests) -> str:
    """Return why these tests fail, "" when they pass. They must be public and explained. Raises InfrastructureError."""
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
    """Return the tests with `raise Wrong(...)` for `assert`, because the judge hides the text of an AssertionError.

    Tests that are no Python are unchanged.
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


def _shown(text: str) -> str:
    line = " ".join(text[: 4 * SHOWN].split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."
