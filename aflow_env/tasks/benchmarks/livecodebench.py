# SPDX-License-Identifier: Apache-2.0
"""LiveCodeBench, code generation: contest problems, in the files of its data set `code_generation_lite`.

Fields `question_content`, `starter_code`, `question_id`, `metadata` (func_name), `public_test_cases` and
`private_test_cases` (JSON, or packed as base64 of zlib of a pickled JSON text). Both kinds of tests score a workflow,
which sees the public ones.

A class `Solution` solves a problem with starter code. `main()`, which reads standard input and prints, solves any other
problem. A plain script is scored too. Outputs are compared line by line, stripped, or as equal numbers.

`runner` makes `run_case` in the solution's process. The hidden tests define `check(run_case)` in the judge's process.
Public tests are single texts for the operator Test, which runs them in the solution's process.
"""

import base64
import io
import json
import pickle
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from aflow_env.tasks.dataset import FileTask
from aflow_env.tasks.feedback import NO_CODE, explained, failure, hidden_fail
from aflow_env.tasks.problem import Problem, RunTests, Score
from aflow_env.tasks.records import Record
from aflow_env.workflow.parsing import extract_code
from aflow_env.workflow.program import TaskSpec

OPERATORS = ("Custom", "CustomCodeGenerate", "ScEnsemble", "Select", "Test")
SPEC = TaskSpec("livecodebench", "LiveCodeBench", OPERATORS, entry_point=True)
SECONDS = 30.0
"""For all tests of a problem. The benchmark's own harness allows 6 s a test."""
LARGEST_UNPACKED = 256 << 20
_MAIN = "Write a program as a function `main()` that reads from standard input and prints the answer. Do not call it."
_CLASS = "Complete this code:"


def problem(record: Record) -> Problem:
    """Read a record of the official files. Raises ConfigError."""
    starter = record.text("starter_code")
    public = _cases(record, "public_test_cases")
    private = _cases(record, "private_test_cases")
    if not (*public, *private):
        raise record.error("private_test_cases", "holds no test, and neither does public_test_cases")
    method = _method(record) if starter.strip() else ""
    task = f"{_CLASS}\n{starter}" if method else _MAIN
    open_cases, secret_cases = ([(case["input"], case["output"]) for case in cases] for cases in (public, private))
    return Problem(
        id=f"livecodebench/{record.text('question_id')}",
        prompt=f"{record.text('question_content')}\n\n{task}\n",
        answer="",
        entry_point="Solution" if method else "main",
        public_tests=tuple(method_test(*texts, method) if method else program_test(*texts) for texts in open_cases),
        hidden_tests=f"PRIVATE = {secret_cases!r}\nPUBLIC = {open_cases!r}\n"
        f"{METHOD_TESTS if method else PROGRAM_TESTS}# method: {method}\n",
        prelude=PRELUDE,
    )


async def score(problem: Problem, output: str, run_code: RunTests) -> Score:
    """Score 1 when all tests, public and private, pass."""
    code = extract_code(output, str(problem.entry_point))
    solution = runner(code, problem.hidden_tests.rpartition("# method: ")[2].strip())
    run = await run_code(solution, problem.hidden_tests, "run_case", SECONDS)
    if run.outcome == "ok":
        return Score(1.0, code, True)
    if not code.strip():
        return Score(0.0, code, False, feedback=NO_CODE)
    public_alone = explained("PRIVATE = []\n" + problem.hidden_tests.partition("\n")[2], "run_case")
    why = await failure(solution, public_alone, "run_case", run_code) if problem.public_tests else ""
    return Score(0.0, code, False, feedback=why or hidden_fail(len(problem.public_tests)))


livecodebench = partial(FileTask, spec=SPEC, convert=problem, judge=score)


def _method(record: Record) -> str:
    metadata = record.value("metadata")
    try:
        values = json.loads(metadata) if isinstance(metadata, str) else metadata
        name = values["func_name"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise record.error("metadata", "should be JSON with `func_name`, as there is starter code") from None
    if not isinstance(name, str) or not name.isidentifier():
        raise record.error("metadata", f"has no usable func_name: {name!r}")
    return name


def _cases(record: Record, name: str) -> Sequence[dict[str, str]]:
    """Return the tests in a field, which is a list, its JSON, or its packed form. Raises ConfigError."""
    value: Any = record.value(name)
    try:
        cases = json.loads(_unpack(value)) if isinstance(value, str) else value
    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise record.error(name, f"is neither JSON nor packed JSON ({error})") from None
    for case in cases if isinstance(cases, list) else [None]:
        texts = (case.get("input"), case.get("output")) if isinstance(case, dict) else (None,)
        if not all(isinstance(text, str) for text in texts):
            raise record.error(name, "should be a list of objects with the texts `input` and `output`")
    return list(cases)


def _unpack(value: str) -> str:
    if value.lstrip().startswith(("[", "{")):
        return value
    inflate = zlib.decompressobj()
    plain = inflate.decompress(base64.b64decode(value, validate=True), LARGEST_UNPACKED)
    text = _TextOnly(io.BytesIO(plain)).load()
    if not isinstance(text, str):
        raise ValueError("the packed value is no text")
    return text


class _TextOnly(pickle.Unpickler):
    """Reads a pickled text, and refuses to look up names, which could run code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"it wants {module_name}.{global_name}, which a text does not need")


_MODULES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json"
)
PRELUDE = (
    "".join(f"from {name} import *\n" for name in (*_MODULES.split(), "builtins", "typing"))
    + f"import {_MODULES.replace(' ', ', ')}\nsys.setrecursionlimit(50000)\n"
)
"""The lines before a solution, as in the benchmark's own harness."""

# A thread with a quarter of the memory limit as its stack allows deep recursion.
_ATTEMPT = """
def attempt(action):
    import resource, threading
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    threading.stack_size(min(1 << 28, (1 << 28) if limit < 0 else limit // 4) & -4096)
    ended = []
    def work():
        try:
            ended.append((action(), None))
        except BaseException as error:
            ended.append((None, error))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    value, error = ended[0]
    if error is not None:
        raise error
    return value
"""

# Descriptors 0 and 1 are files, so that open(0), sys.stdin and os.read work.
_RUN_PROGRAM = """
def run_case(text):
    import os, sys
    def placed(name, fd):
        found = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        if found != fd:
            os.dup2(found, fd)
            os.close(found)
    def printed_by(action):
        saved = sys.stdin, sys.stdout
        placed("given", 0)
        os.write(0, text.encode())
        os.lseek(0, 0, os.SEEK_SET)
        placed("printed", 1)
        sys.stdin = open(0, encoding="utf-8", closefd=False)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        try:
            attempt(action)
        except SystemExit:
            pass
        finally:
            ours, (sys.stdin, sys.stdout) = sys.stdout, saved
        if not ours.closed:
            ours.flush()
        with open("printed", encoding="utf-8", errors="replace") as file:
            return file.read()
    scope = {"__name__": "__main__", "exit": sys.exit, "quit": sys.exit}
    exec(PRELUDE, scope)
    printed = printed_by(lambda: exec(compile(SOURCE, "solution", "exec"), scope))
    return printed_by(scope["main"]) if not printed.strip() and callable(scope.get("main")) else printed
"""

_RUN_METHOD = """
def run_case(text):
    import json
    values = [json.loads(line) for line in text.split("\\n") if line.strip()]
    return json.dumps(attempt(lambda: getattr(SCOPE["Solution"](), METHOD)(*values)))

SCOPE = {"__name__": "solution"}
exec(PRELUDE, SCOPE)
exec(compile(SOURCE, "solution", "exec"), SCOPE)
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
    for text, wanted in PUBLIC + PRIVATE:
        printed = run_case(text)
        assert same(printed, wanted), f"on {{text[:200]!r}} printed {{printed[:200]!r}}, expected {{wanted[:200]!r}}"
"""

METHOD_TESTS = """
def check(run_case):
    import json
    for text, wanted in PUBLIC + PRIVATE:
        given = json.loads(run_case(text))
        assert given == json.loads(wanted), f"input {text[:200]!r}: returned {given!r:.200}, expected {wanted[:200]!r}"
"""


def runner(code: str, method: str) -> str:
    """Return a module with a `run_case(text)` that returns the solution's output on one input, as text."""
    run = _RUN_METHOD if method else _RUN_PROGRAM
    return f"SOURCE, METHOD, PRELUDE = {code!r}, {method!r}, {PRELUDE!r}\n{_ATTEMPT}{run}"


def method_test(text: str, wanted: str, method: str) -> str:
    """Return a public test of a class Solution."""
    return (
        f"import json\nvalues = [json.loads(line) for line in {text!r}.split('\\n') if line.strip()]\n"
        f"given = json.loads(json.dumps(candidate().{method}(*values)))\n"
        f"assert given == json.loads({wanted!r}), f'{method}: returned {{given!r}}, expected ' + {wanted!r}\n"
    )


def program_test(text: str, wanted: str) -> str:
    """Return a public test of a main() that reads standard input."""
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
