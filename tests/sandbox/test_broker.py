# SPDX-License-Identifier: Apache-2.0
"""Attacks on the line to the parent: the problem that makes one ends with it, and the other problems are answered.

Each is Python inside a workflow's `__call__`, for the problem "bad" only. `raw(text)` writes to the pipe past the
stubs. Where a limit is what stops the attack, the same attack is shown to get through with the limit raised.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.pool import Sandbox
from aflow_env.sandbox.worker import JailRun
from aflow_env.workflow.operators import CodeResult, OperatorContext, call_operator
from tests.sandbox.test_workflow import Program, echo, outcomes

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = """
import workspace.GSM8K.workflows.template.operator as operator
from scripts.async_llm import create_llm_instance
import asyncio, gc, json, os, signal

def link():
    return next(o for o in gc.get_objects() if type(o).__name__ == "Link")

def raw(text):
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[os.write(link().fd, data):]

def call(number, **more):
    return json.dumps({"id": number, "call": 1, "operator": "Custom", "arguments": {}, **more}) + "\\n"

class Workflow:
    def __init__(self, name, llm_config, dataset):
        self.llm = create_llm_instance(llm_config)
        self.custom = operator.Custom(self.llm)

    async def __call__(self, problem):
        if problem != "bad":
            await asyncio.sleep(0.05)
            return (await self.custom(problem, ""))["response"], 0
        {body}
        await asyncio.sleep(60)
        return "survived", 0
"""
LIMITS = JailLimits(wall_seconds=6, output_bytes=100_000, calls=50)

ATTACKS = {
    "bad-json": "raw('{]\\n')",
    "not-an-object": "raw('[1, 2]\\n')",
    "not-utf-8": "raw(bytes([0xff, 0xfe, 10]))",
    "nesting-bomb": "raw('[' * 90_000 + '\\n')",
    "nesting-that-parses": "raw(call(1, arguments={'input': 0}).replace('0}', '[' * 400 + ']' * 400 + '}'))",
    "digits-bomb": "raw(call(1, arguments={'input': 0}).replace('0}', '9' * 5000 + '}'))",
    "not-a-number": "raw(call(1, arguments={'input': float('nan')}))",
    "lone-surrogate": "raw(call(1, operator=chr(0xd800)))",
    "forged-id": "raw(call(77))",
    "id-that-is-true": "raw(call(True))",
    "replayed-id": "raw(call(1)); raw(call(1))",
    "another-kind-of-message": "raw('{\"kill\": true}\\n')",
    "end-of-a-problem-not-running": 'raw(\'{"end": 41, "outcome": "ok", "value": "x"}\\n\')',
    "end-of-unknown-form": 'raw(\'{"end": 1, "outcome": "correct"}\\n\')',
    "ready-again": "raw('{\"ready\": false}\\n')",
    "line-without-end": "raw('x' * 5_000_000)",
    "huge-message": "raw(call(1, arguments={'input': 'x' * 500_000}))",
    "calls-for-nobody": "for i in range(1, 200): raw(call(i, call=41))",
    "many-large-calls": "for i in range(20): await self.custom('x' * 90_000, str(i))",
    "huge-operator-call": "await self.custom('x' * 500_000, '')",
    "huge-answer": "return 'x' * 500_000, 0",
}


def program(body: str) -> Program:
    return Program(GRAPH.replace("{body}", body.replace("\n", "\n        ")), "")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_jail() -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=LIMITS) as sandbox:
        yield sandbox


async def fight(sandbox: Sandbox, body: str, handle: Any = echo) -> list[JailRun]:
    problems: list[dict[str, Any]] = [{"problem": name} for name in ("good", "bad", "better")]
    runs = await sandbox.run_workflow(program(body), problems, handle)
    again = await sandbox.run_workflow(program(body), [{"problem": "next"}], handle)
    assert outcomes([runs[0], runs[2], *again]) == ["ok"] * 3
    return [run for run in runs if isinstance(run, JailRun)]


@pytest.mark.parametrize("name", ATTACKS)
async def test_abuse_of_the_line_is_a_violation(shared_jail: Sandbox, name: str) -> None:
    bad = (await fight(shared_jail, ATTACKS[name]))[1]
    assert bad.outcome == "violation", bad
    assert bad.value is None


async def test_ten_thousand_calls_are_cut_off_at_the_limit(shared_jail: Sandbox) -> None:
    asked = []

    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["instruction"] == "flood":
            asked.append(index)
        return await echo(index, operator, arguments)

    flood = "for _ in range(N): await self.custom('x', 'flood')\nreturn 'through', 0"
    bad = (await fight(shared_jail, flood.replace("N", "10_000"), handle))[1]
    assert (bad.outcome, len(asked)) == ("violation", LIMITS.calls)
    at_once = "await asyncio.gather(*(self.custom('x', 'flood') for _ in range(10_000)))"
    assert (await fight(shared_jail, at_once))[1].outcome == "violation"
    async with Sandbox(limits=JailLimits(calls=200)) as generous:
        assert (await fight(generous, flood.replace("N", "200"), handle))[1].value == "through"


@pytest.mark.parametrize("name", ["huge-operator-call", "huge-answer"])
async def test_what_is_huge_gets_through_where_the_limit_is_higher(name: str) -> None:
    heard = []

    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        heard.append(len(arguments["input"]))
        return {"result": {"response": ""}, "cost_usd": 0}

    async with Sandbox(limits=JailLimits(output_bytes=1_000_000)) as generous:
        bad = (await fight(generous, ATTACKS[name] + "\nreturn 'survived', 0", handle))[1]
    assert bad.outcome == "ok"
    assert max([*heard, len(bad.value)]) == 500_000


@pytest.mark.parametrize(
    "body",
    [
        "signal.setitimer(signal.ITIMER_PROF, 0)\nwhile True: pass",
        "while True:\n    try: await asyncio.sleep(60)\n    except asyncio.CancelledError: pass",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "import threading; threading.Thread(target=lambda: exec('while True: pass')).start()\nawait asyncio.sleep(60)",
    ],
    ids=["timer-disarmed", "deaf-to-cancellation", "stopped", "busy-thread"],
)
async def test_who_evades_one_clock_meets_the_other(body: str) -> None:
    async with Sandbox(limits=JailLimits(wall_seconds=6, cpu_seconds=2)) as sandbox:
        assert (await fight(sandbox, body))[1].outcome == "timeout"


async def test_a_child_that_hangs_up_ends(shared_jail: Sandbox) -> None:
    assert (await fight(shared_jail, "os.close(link().fd)"))[1].outcome == "crash"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("'Custom', {'input': problem, 'instruction': '', 'model': 'the-dearest'}", "model"),
        ("'Custom', {'input': problem, 'instruction': '', 'temperature': 2}", "temperature"),
        ("'Custom', {'input': problem, 'instruction': '', 'base_url': 'http://example.org'}", "base_url"),
        ("'Shell', {'command': 'id'}", "Shell"),
    ],
    ids=["model", "temperature", "address", "operator"],
)
async def test_a_call_names_nothing_but_what_an_operator_takes(shared_jail: Sandbox, request_: str, why: str) -> None:
    """The real operators decide; the same request without the extra argument is answered."""
    asked: list[str] = []

    async def ask(prompt: str, fields: tuple[str, ...]) -> str:
        asked.append(prompt)
        return "reply"

    async def run_code(code: str, function: str, arguments: list[Any], seconds: float) -> CodeResult:
        raise AssertionError("nobody asked for code")

    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"result": await call_operator(operator, arguments, OperatorContext(ask, run_code)), "cost_usd": 0}

    bad = (await fight(shared_jail, f"await self.llm.request({request_})", handle))[1]
    assert bad.outcome == "crash"
    assert why in bad.error
    assert not any("bad" in prompt for prompt in asked)
    plain = await fight(shared_jail, "return (await self.custom(problem, ''))['response'], 0", handle)
    assert plain[1].value == "reply"


async def test_the_cost_is_what_the_parent_says(shared_jail: Sandbox) -> None:
    body = "await self.custom('a', '')\nawait self.llm('b')\nreturn self.llm.get_usage_summary()['total_cost'], 0"
    assert (await fight(shared_jail, body))[1].value == "0.5"
