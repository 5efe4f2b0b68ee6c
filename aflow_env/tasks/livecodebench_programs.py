# SPDX-License-Identifier: Apache-2.0
"""The small programs around a LiveCodeBench solution: what runs it on one case, and what compares the outputs.

`runner` stands on the solution's side and gives `run_case`; the tests stand on the judge's side and define
`check(run_case)`. Public tests are single texts for the operator Test, which executes them beside the solution.
"""

_RUN_PROGRAM = """

def run_case(text):
    import io, sys
    def attempt(action):
        saved = sys.stdin, sys.stdout
        sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        try:
            action()
        except SystemExit:
            pass
        finally:
            printed = sys.stdout
            sys.stdin, sys.stdout = saved
        printed.flush()
        return printed.buffer.getvalue().decode("utf-8", "replace")
    scope = {"__name__": "__main__", "exit": sys.exit, "quit": sys.exit}
    printed = attempt(lambda: exec(compile(SOURCE, "solution", "exec"), scope))
    return attempt(scope["main"]) if not printed.strip() and callable(scope.get("main")) else printed
"""

_RUN_METHOD = """

def run_case(text):
    import json
    values = [json.loads(line) for line in text.split("\\n") if line.strip()]
    return json.dumps(getattr(Solution(), METHOD)(*values))
"""

_SAME = """
def same(printed, wanted):
    from decimal import Decimal, InvalidOperation
    left = [line.strip() for line in printed.strip().split("\\n")]
    right = [line.strip() for line in wanted.strip().split("\\n")]
    if left == right:
        return True
    try:
        return [[Decimal(word) for word in line.split()] for line in left] == [
            [Decimal(word) for word in line.split()] for line in right
        ]
    except InvalidOperation:
        return False
"""

PROGRAM_TESTS = f"""{_SAME}
def check(run_case):
    for text, wanted in CASES:
        printed = run_case(text)
        assert same(printed, wanted), f"on {{text[:200]!r}} printed {{printed[:200]!r}}, expected {{wanted[:200]!r}}"
"""

METHOD_TESTS = """
def check(run_case):
    import json
    for text, wanted in CASES:
        given = json.loads(run_case(text))
        assert given == json.loads(wanted), f"input {text[:200]!r}: returned {given!r:.200}, expected {wanted[:200]!r}"
"""


def runner(code: str, method: str) -> str:
    """The solution with a `run_case(text)` that gives its output on one input, as text."""
    if method:
        return f"{code}\nMETHOD = {method!r}\n{_RUN_METHOD}"
    return f"SOURCE = {code!r}\n{_RUN_PROGRAM}"


def method_test(text: str, wanted: str, method: str) -> str:
    """A public test of a class Solution."""
    return (
        f"import json\nvalues = [json.loads(line) for line in {text!r}.split('\\n') if line.strip()]\n"
        f"given = json.loads(json.dumps(candidate().{method}(*values)))\n"
        f"assert given == json.loads({wanted!r}), f'{method}: returned {{given!r}}, expected ' + {wanted!r}\n"
    )


def program_test(text: str, wanted: str, method: str = "") -> str:
    """A public test of a main() that reads standard input."""
    return f"""{_SAME}
def check(candidate):
    import io, sys
    saved = sys.stdin, sys.stdout
    sys.stdin, sys.stdout = io.StringIO({text!r}), io.StringIO()
    try:
        candidate()
    finally:
        printed = sys.stdout.getvalue()
        sys.stdin, sys.stdout = saved
    assert same(printed, {wanted!r}), f"printed {{printed[:200]!r}}, expected " + {wanted!r}
"""
