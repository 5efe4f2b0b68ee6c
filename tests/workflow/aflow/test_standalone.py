# SPDX-License-Identifier: Apache-2.0
"""An exported module does what the workflow did in the search, and needs nothing but an `ask`."""

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aflow_env.errors import ConfigError
from aflow_env.workflow.aflow.standalone import standalone_module, template_operators
from aflow_env.workflow.operators import CodeResult, OperatorContext, call_operator
from aflow_env.workflow.program import TaskSpec, Workflow, header
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import Step, to_workflow

TASK = TaskSpec("task", "TASK", tuple(SIGNATURES))
CALLS: dict[str, dict[str, Any]] = {
    "Custom": {"input": "2 + 2", "instruction": "Think."},
    "AnswerGenerate": {"input": "2 + 2"},
    "CustomCodeGenerate": {"problem": "add", "entry_point": "add", "instruction": "Write it."},
    "ScEnsemble": {"solutions": ["four", "4", "five"], "problem": "2 + 2"},
    "Vote": {"solutions": ["It is 5.", "4", "so 4.0"]},
    "Select": {"solutions": ["def add(a, b): return a - b", "def add(a, b): return a + b"], "entry_point": "add"},
    "MdEnsemble": {"solutions": ["four", "4", "five"], "problem": "2 + 2"},
    "Programmer": {"problem": "2 + 2", "analysis": "add them"},
    "Test": {"problem": "add", "solution": "def add(a, b): return a - b", "entry_point": "add"},
    "Format": {"problem": "2 + 2", "solution": "It is 4."},
    "Review": {"problem": "2 + 2", "solution": "It is 4."},
    "Revise": {"problem": "2 + 2", "solution": "It is 4.", "feedback": "Shorter."},
}
REPLY = (
    "<think>hm</think><thought>t</thought><answer>4</answer><solution_letter>B</solution_letter>"
    "<code>def solve():\n    return 4\ndef add(a, b):\n    return a + b</code>"
    "<review_result>True</review_result><feedback>fine</feedback><solution>four</solution>"
)


def load(source: str, folder: Path) -> ModuleType:
    file = folder / "exported.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("exported", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calling(operator: str, arguments: dict[str, Any]) -> Workflow:
    """A workflow that returns an operator's whole reply."""
    graph = f"""{header(TASK)}
class Workflow:
    def __init__(self, name: str, llm_config, dataset: DatasetType) -> None:
        self.llm = create_llm_instance(llm_config)
        self.call = operator.{operator}(self.llm)

    async def __call__(self, problem: str):
        return await self.call(**{arguments!r}), self.llm.get_usage_summary()["total_cost"]
"""
    return Workflow(graph, "")


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_operator_asks_and_answers_the_same(name: str, tmp_path: Path) -> None:
    asked: dict[str, list[str]] = {"search": [], "module": []}
    codes: dict[str, list[object]] = {"search": [], "module": []}

    def run_code_of(where: str) -> Any:
        async def run_code(code: str, function: str, arguments: list[Any], seconds: float) -> CodeResult:
            codes[where].append((code, function, arguments, seconds))
            failed = len(codes[where]) == 1
            return (
                CodeResult("crash", None, "broken")
                if failed
                else CodeResult("ok", "[]" if name in ("Test", "Select") else "4")
            )

        return run_code

    async def ask_search(prompt: str, fields: tuple[str, ...]) -> str:
        asked["search"].append(prompt)
        return REPLY

    def ask_module(prompt: str) -> str:
        asked["module"].append(prompt)
        return REPLY

    context = OperatorContext(ask_search, run_code_of("search"), ("assert add(1, 2) == 3",), None, "number")
    expected = asyncio.run(call_operator(name, CALLS[name], context))
    module = load(standalone_module(calling(name, CALLS[name]), "a title", "number"), tmp_path)
    got = asyncio.run(
        module.solve("p", ask_module, run_code=run_code_of("module"), public_tests=("assert add(1, 2) == 3",))
    )
    assert got == expected
    assert asked["module"] == asked["search"]
    assert codes["module"] == codes["search"]


def test_a_module_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    steps = (Step("Custom", 'Say "why".\n\tthen \\boxed{}'), Step("Programmer"), Step("ScEnsemble", samples=3))
    source = standalone_module(to_workflow(steps, TASK), 'a "title" \\ with quotes')
    (tmp_path / "exported.py").write_text(source)
    program = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1]); import exported; seen = []; "
        "ask = lambda prompt: seen.append(prompt) or '<code>def solve():\\n    return 6 * 7</code>'; "
        "print(asyncio.run(exported.solve('what?', ask)), len(seen)); print(seen[0])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "42 4"
    assert 'Say "why".\n\tthen \\boxed{}\nwhat?' in done.stdout


def test_code_that_hangs_or_breaks_is_an_outcome(tmp_path: Path) -> None:
    module = load(standalone_module(calling("Programmer", CALLS["Programmer"]), ""), tmp_path)
    hangs = asyncio.run(module.run_in_subprocess("def solve():\n    while True: pass", "solve", [], 1.0))
    breaks = asyncio.run(module.run_in_subprocess("def solve():\n    return 1 / 0", "solve", [], 20.0))
    assert (hangs.outcome, breaks.outcome) == ("timeout", "crash")
    assert "ZeroDivisionError" in breaks.error


def test_code_sees_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret")
    module = load(standalone_module(calling("Programmer", CALLS["Programmer"]), ""), tmp_path)
    code = "def solve():\n    import os\n    return sorted(os.environ)"
    assert "KEY" not in asyncio.run(module.run_in_subprocess(code, "solve", [], 20.0)).value


def test_code_tasks_get_their_entry_point(tmp_path: Path) -> None:
    task = TaskSpec("code", "CODE", tuple(SIGNATURES), entry_point=True)
    workflow = to_workflow((Step("CustomCodeGenerate", "Write it."),), task)
    module = load(standalone_module(workflow, ""), tmp_path)
    found = asyncio.run(module.solve("add two numbers", lambda prompt: "def add(a, b): return a + b", "add"))
    assert found == "def add(a, b): return a + b"


def test_imports_under_other_names_are_followed(tmp_path: Path) -> None:
    graph = """
import math
from typing import Literal
import workspace.TASK.workflows.template.operator as op
from workspace.TASK.workflows.round_7.prompt import ONE as first
from scripts.async_llm import create_llm_instance as make

DatasetType = Literal["TASK"]

class Workflow:
    def __init__(self, name: str, llm_config, dataset: DatasetType) -> None:
        self.llm = make(llm_config)
        self.custom = op.Custom(self.llm)

    async def __call__(self, problem: str):
        return (await self.custom(problem, first))["response"], math.floor(0.5)
"""
    module = load(standalone_module(Workflow(graph, 'ONE = "Think."'), ""), tmp_path)
    assert asyncio.run(module.solve("p", lambda prompt: prompt)) == "Think.\np"


def test_a_clash_of_names_is_refused() -> None:
    workflow = calling("Custom", CALLS["Custom"])
    with pytest.raises(ConfigError, match="make_operator"):
        standalone_module(Workflow(f"{workflow.graph}\n\ndef make_operator():\n    pass\n", ""), "")


class AflowOperator:
    """AFlow's base: an operator has an LLM and a name."""

    def __init__(self, llm: object, name: str = "") -> None:
        self.llm = llm

    def exec_code(self, solution: str, entry_point: str) -> Any:
        """AFlow's Test: "no error", or the cases that failed."""
        return "no error" if "+" in solution else [{"test_fail_case": {"error_type": solution[-1]}}]


def loaded(kind: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the file, with AFlow's operators replaced by AflowOperator."""
    scripts = ModuleType("scripts.operators")
    vars(scripts).update({name: AflowOperator for name in SIGNATURES if name not in ("Vote", "Select")})
    monkeypatch.setitem(sys.modules, "scripts", ModuleType("scripts"))
    monkeypatch.setitem(sys.modules, "scripts.operators", scripts)
    names: dict[str, Any] = {}
    exec(template_operators(kind), names)
    return names


def test_vote_counts_the_task_s_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow that the search found votes in AFlow as it did here."""
    vote = loaded("number", monkeypatch)["Vote"](object())
    assert asyncio.run(vote(solutions=["9", "so 4", "4.0"])) == {"response": "so 4"}


def test_select_asks_aflow_s_public_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that passes is chosen, else one of the most common failures."""
    select = loaded("text", monkeypatch)["Select"](object())
    passed = asyncio.run(select(solutions=["a-b", "a+b", "b+a"], entry_point="add"))
    failed = asyncio.run(select(solutions=["1", "a-b", "b"], entry_point="add"))
    assert passed == {"result": True, "solution": "a+b"}
    assert failed == {"result": False, "solution": "a-b"}
