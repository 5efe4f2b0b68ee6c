# SPDX-License-Identifier: Apache-2.0
"""Workflows in the jail: AFlow's own text runs unmodified, and each problem has its own outcome."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from aflow_env.errors import BudgetExhausted, InfrastructureError, WorkflowError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.jail import runtime
from aflow_env.sandbox.pool import Sandbox
from aflow_env.sandbox.worker import JailRun
from aflow_env.workflow.signatures import SIGNATURES

GRAPH = '''
from typing import Literal
import workspace.GSM8K.workflows.template.operator as operator
import workspace.GSM8K.workflows.round_3.prompt as prompt_custom
from scripts.async_llm import create_llm_instance

from scripts.evaluator import DatasetType

class Workflow:
    def __init__(
        self,
        name: str,
        llm_config,
        dataset: DatasetType,
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.llm = create_llm_instance(llm_config)
        self.custom = operator.Custom(self.llm)
        self.sc_ensemble = operator.ScEnsemble(self.llm)

    async def __call__(self, problem: str):
        """
        Implementation of the workflow
        """
        {body}
'''


@dataclass(frozen=True)
class Program:
    graph: str
    prompts: str = 'SOLVE = """Solve it."""\n'


def program(body: str) -> Program:
    return Program(GRAPH.replace("{body}", body.replace("\n", "\n        ")))


async def echo(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"result": {"response": f"{operator}{sorted(arguments.items())}"}, "cost_usd": 0.25}


def outcomes(runs: list[JailRun | BaseException]) -> list[str]:
    return [run.outcome if isinstance(run, JailRun) else type(run).__name__ for run in runs]


async def test_an_aflow_workflow_runs_unmodified() -> None:
    body = (
        "solution = await self.custom(input=problem, instruction=prompt_custom.SOLVE)\n"
        "again = await self.custom(problem, 'x')\n"
        "best = await self.sc_ensemble([solution['response'], again['response']], problem)\n"
        "plain = await self.llm('hello')\n"
        "return (best['response'], plain, self.dataset), self.llm.get_usage_summary()['total_cost']"
    )
    async with Sandbox() as sandbox:
        [run] = await sandbox.run_workflow(program(body), [{"problem": "2+2"}], echo)
    assert isinstance(run, JailRun)
    assert run.outcome == "ok"
    assert "ScEnsemble" in run.value
    assert "LLM" in run.value
    assert "Solve it." in run.value
    assert "GSM8K" in run.value


@pytest.mark.parametrize(
    ("line", "outcome", "error"),
    [
        ("1 / 0", "crash", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "crash", "SystemExit: 0"),
        ("import os; os._exit(0)", "crash", "exited with status 0"),
        ("import time; time.sleep(60)", "timeout", "more than 6 s"),
        ("await __import__('asyncio').sleep(60)", "timeout", "more than 6 s"),
        ("return 1", "crash", "TypeError"),
    ],
)
async def test_a_bad_problem_ends_alone(line: str, outcome: str, error: str) -> None:
    """The other problems of the batch are answered, whatever one of them does to the process that they share."""
    limits = JailLimits(wall_seconds=6, cpu_seconds=1)
    async with Sandbox(limits=limits) as sandbox:
        body = f"if problem == 'bad':\n    {line}\nreturn (await self.custom(problem, ''))['response'], 0"
        calls = [{"problem": name} for name in ("a", "bad", "c", "d")]
        runs = await sandbox.run_workflow(program(body), calls, echo)
    assert outcomes(runs) == ["ok", outcome, "ok", "ok"]
    assert isinstance(runs[1], JailRun)
    assert error in runs[1].error


async def test_a_step_that_never_yields_is_ended_by_its_processor_time() -> None:
    body = "if problem == 'bad':\n    while True: pass\nreturn problem, 0"
    async with Sandbox(limits=JailLimits(wall_seconds=30, cpu_seconds=1)) as sandbox:
        runs = await sandbox.run_workflow(program(body), [{"problem": "a"}, {"problem": "bad"}, {"problem": "c"}], echo)
    assert outcomes(runs) == ["ok", "timeout", "ok"]
    assert isinstance(runs[1], JailRun)
    assert "processor time" in runs[1].error


async def test_the_stubs_take_what_the_operators_take() -> None:
    """The child cannot import the operators' signatures; its copy of the names and their order is the same."""
    stubs = {name: list(parameters) for name, parameters in runtime.SIGNATURES.items()}
    assert stubs == {name: list(signature.model_fields) for name, signature in SIGNATURES.items()}


async def test_a_restart_asks_nothing_twice() -> None:
    asked: list[str] = []

    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        asked.append(arguments["input"])
        return await echo(index, operator, arguments)

    body = (
        "await self.custom(problem + '1', '')\n"
        "if problem == 'bad': __import__('os')._exit(1)\n"
        "await __import__('asyncio').sleep(0.2)\n"
        "await self.custom(problem + '2', '')\n"
        "return problem, 0"
    )
    async with Sandbox() as sandbox:
        runs = await sandbox.run_workflow(program(body), [{"problem": p} for p in ("a", "bad", "c")], handle)
    assert outcomes(runs) == ["ok", "crash", "ok"]
    assert sorted(asked) == ["a1", "a2", "bad1", "c1", "c2"]


async def test_repeats_of_a_problem_share_no_child() -> None:
    """A vote over what other repeats of the problem were told would be an ensemble that nobody pays for."""
    graph = program(
        "reply = (await self.custom(problem, ''))['response']\n"
        "HEARD.setdefault(problem, []).append(reply)\n"
        "await __import__('asyncio').sleep(0.2)\n"
        "return HEARD[problem], 0"
    )
    graph = Program("HEARD = {}\n" + graph.graph)
    places = []

    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        places.append(index)
        return {"result": {"response": f"draw {index}"}, "cost_usd": 0}

    async with Sandbox() as sandbox:
        calls = [{"problem": name} for name in ("a", "b", "a", "a", "b")]
        runs = await sandbox.run_workflow(graph, calls, handle)
    assert [run.value for run in runs if isinstance(run, JailRun)] == [f"['draw {i}']" for i in range(5)]
    assert sorted(places) == list(range(5))


async def test_errors_of_the_handler_go_where_they_belong() -> None:
    """World and budget errors end their problem as themselves; the workflow's own are raised in the workflow."""
    errors = {"net": InfrastructureError("down"), "poor": BudgetExhausted("0 USD"), "wrong": WorkflowError("no such")}

    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["input"] in errors:
            raise errors[arguments["input"]]
        return await echo(index, operator, arguments)

    body = "return (await self.custom(problem, ''))['response'], 0"
    async with Sandbox() as sandbox:
        calls = [{"problem": name} for name in ("fine", "net", "poor", "wrong")]
        runs = await sandbox.run_workflow(program(body), calls, handle)
    assert outcomes(runs) == ["ok", "InfrastructureError", "BudgetExhausted", "crash"]
    assert isinstance(runs[3], JailRun)
    assert "no such" in runs[3].error


async def test_a_bug_in_the_handler_is_raised() -> None:
    async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("ours")

    body = "return (await self.custom(problem, ''))['response'], 0"
    async with Sandbox() as sandbox:
        with pytest.raises(KeyError, match="ours"):
            await sandbox.run_workflow(program(body), [{"problem": "a"}], handle)


async def test_the_clock_stands_still_while_the_parent_works() -> None:
    async def slow(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(4.0)
        return await echo(index, operator, arguments)

    body = "return (await self.custom(problem, ''))['response'], 0"
    async with Sandbox(limits=JailLimits(wall_seconds=3)) as sandbox:
        runs = await sandbox.run_workflow(program(body), [{"problem": "a"}], slow)
    assert outcomes(runs) == ["ok"]


async def test_a_workflow_that_does_not_load_fails_every_problem_at_once() -> None:
    async with Sandbox() as sandbox:
        runs = await sandbox.run_workflow(Program("class Workflow(:"), [{"problem": "a"}] * 50, echo)
    assert outcomes(runs) == ["crash"] * 50
