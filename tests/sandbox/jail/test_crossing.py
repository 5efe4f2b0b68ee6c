# SPDX-License-Identifier: Apache-2.0
"""Values and operations between tests and solution: they do as in one process, or a text names the limit."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from aflow_env.errors import ConfigError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.pool import Sandbox
from tests.sandbox.jail.crossings import CROSS, REFUSED, UNFIT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=JailLimits(output_bytes=1_000_000)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", CROSS)
async def test_a_right_solution_passes(sandbox: Sandbox, name: str) -> None:
    """Tests may do with a solution what they could do in one process."""
    run = await sandbox.run_tests(*CROSS[name], "f", 20)
    assert run.outcome == "ok", run


@pytest.mark.parametrize("name", CROSS)
async def test_the_tests_are_no_mere_formality(sandbox: Sandbox, name: str) -> None:
    """The same tests fail for a solution that returns an object of its own."""
    run = await sandbox.run_tests("class f:\n    def __init__(self, *a, **k): pass", CROSS[name][1], "f", 20)
    assert run.outcome == "crash", run


@pytest.mark.parametrize("name", REFUSED)
async def test_a_limit_is_named(sandbox: Sandbox, name: str) -> None:
    """An operation that a solution could use to decide its own verdict ends the tests, whatever they catch."""
    run = await sandbox.run_tests(*REFUSED[name], "f", 20)
    assert run.outcome == "crash", run
    assert run.error.startswith("Refused: "), run


@pytest.mark.parametrize("name", UNFIT)
async def test_tests_that_judge_nothing_are_the_authors_fault(sandbox: Sandbox, name: str) -> None:
    """They raise a ConfigError, and count for or against no solution."""
    with pytest.raises(ConfigError, match="the hidden tests judge no solution: they"):
        await sandbox.run_tests(*UNFIT[name], "f", 20)


async def test_a_solution_cannot_make_the_tests_unfit(sandbox: Sandbox) -> None:
    """After the first call nothing is the author's fault, else a failure could be hidden as one."""
    tests = "import io\ndef show(x): return io.StringIO(x)\nassert f(show) == 1"
    solutions = "def f(show): return show('a')", "def f(show): raise SyntaxError", "import os\nos._exit(0)", "f = 3", ""
    for solution in solutions:
        run = await sandbox.run_tests(solution, tests, "f", 20)
        assert run.outcome == "crash", run
    for tests in ("len(f)", "for x in f: pass", "f[0]", "next(f)", "f(1)", "f.x", "1 in f", "f()()"):
        for solution in ("f = 3", "def f(): pass"):
            run = await sandbox.run_tests(solution, tests, "f", 20)
            assert run.outcome == "crash", (tests, run)
