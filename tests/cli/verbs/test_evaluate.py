# SPDX-License-Identifier: Apache-2.0
"""`evaluate`, `test`, `baselines`, `doctor`: their figures, and what they do with what does not work."""

import json
import shutil
from pathlib import Path

import pytest

from aflow_env.cli.verbs import doctor
from aflow_env.tasks.baselines import baselines
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.signatures import SIGNATURES
from tests.cli.conftest import SMALL, Command

CRASHING = """
class Workflow:
    def __init__(self, name, llm_config, dataset):
        pass

    async def __call__(self, problem):
        return 1 / 0, 0.0
"""


def test_evaluate_prints_the_names_of_the_design(aflow: Command, finished: Path, tmp_path: Path) -> None:
    said = aflow("evaluate", finished / "best", f"run_dir={tmp_path}", *SMALL, "--json")
    names = {"score", "ci95", "n", "outcomes", "truncated", "cost_usd", "unpriced", "tokens", "sandbox", "problems"}
    assert set(said.json) == names
    assert set(said.json["tokens"]) == {"input", "output"}
    assert set(said.json["problems"][0]) == {"id", "outcome", "answer", "feedback", "seconds"}
    assert said.json["n"] == len(said.json["problems"]) == sum(said.json["outcomes"].values()) == 4
    assert said.json["ci95"][0] <= said.json["score"] <= said.json["ci95"][1]
    assert "process" in said.json["sandbox"]


def test_a_workflow_that_crashes_is_scored_with_status_0(aflow: Command, tmp_path: Path) -> None:
    (tmp_path / "graph.py").write_text(CRASHING)
    said = aflow("evaluate", tmp_path, f"run_dir={tmp_path / 'run'}", *SMALL, "--json")
    assert said.status == 0
    assert said.json["score"] == 0.0
    assert said.json["outcomes"] == {"crash": 4}
    assert "division by zero" in aflow("evaluate", tmp_path, f"run_dir={tmp_path / 'run'}", *SMALL).out


def test_test_scores_held_out_problems_with_repeats(aflow: Command, finished: Path) -> None:
    held_out = aflow("test", finished, "--json").json
    chosen_on = aflow("evaluate", finished / "best", f"run_dir={finished}", *SMALL, "--json").json
    assert held_out["n"] == 15
    assert held_out["repeats"] == 3
    ids = {problem["id"] for problem in held_out["problems"]}
    assert not ids & {problem["id"] for problem in chosen_on["problems"]}
    low, high = held_out["ci95"]
    assert high - low > 0.25  # five problems, however often each is repeated


def test_test_takes_a_folder_too(aflow: Command, finished: Path, tmp_path: Path) -> None:
    said = aflow("test", finished / "best", f"run_dir={tmp_path}", "repeats=1", *SMALL, "--json")
    assert said.json["n"] == 5


def test_the_baselines_are_a_table_in_80_columns(aflow: Command, finished: Path, tmp_path: Path) -> None:
    arguments = (f"run_dir={tmp_path}", *SMALL, "--run", finished)
    said = aflow("baselines", *arguments)
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert "SIMULATED" in said.out
    found = aflow("baselines", *arguments, "--split", "test", "--json").json
    assert [row["name"] for row in found["baselines"]] == [
        *("IO", "CoT", "CoT-SC x5", "Program", "Self-refine", "MultiPersona", "best of run")
    ]
    assert {row["n"] for row in found["baselines"]} == {5}


def test_a_baseline_can_be_had_alone(aflow: Command, tmp_path: Path) -> None:
    arguments = (f"run_dir={tmp_path}", *SMALL, "--json")
    found = aflow("baselines", *arguments, "--only", "Program, IO").json
    assert [row["name"] for row in found["baselines"]] == ["IO", "Program"]
    refused = aflow("baselines", *arguments, "--only", "CoT-SC")
    assert refused.status == 2
    assert "--only=CoT-SC: arithmetic has the baselines IO, CoT, CoT-SC x5, Program" in refused.err


def test_a_long_name_hides_no_figure(aflow: Command, finished: Path, tmp_path: Path) -> None:
    """The name of a run is folded, and each line is within 80 columns."""
    run = shutil.copytree(finished, tmp_path / ("n" * 70))
    said = aflow("baselines", f"run_dir={tmp_path / 'run'}", *SMALL, "--only", "IO", "--run", run)
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert all(name in said.out for name in ("score", "95% interval", "calls", "USD per problem"))
    assert "…" not in said.out


@pytest.mark.parametrize("entry_point", [False, True])
@pytest.mark.parametrize("left_out", ["Programmer", "MdEnsemble"])
def test_every_baseline_passes_the_gate(entry_point: bool, left_out: str) -> None:
    task = TaskSpec("task", "TASK", tuple(name for name in SIGNATURES if name != left_out), entry_point)
    found = baselines(task)
    assert len({workflow.digest for workflow in found.values()}) == len(found)
    assert ("Program" in found) == (left_out != "Programmer" and not entry_point)
    for workflow in found.values():
        check(workflow, task)


def test_doctor_says_which_layers_hold_and_never_a_key(aflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret")
    said = aflow("doctor", "--search")
    assert said.status == 0
    assert "process" in said.out
    assert "OPENAI_API_KEY" in said.out
    assert "sk-a-secret" not in said.out + said.err


def test_doctor_fails_when_something_needed_is_missing(aflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CORE", ("no-such-distribution",))
    said = aflow("doctor", "--search", "--json")
    assert said.status == 1
    assert json.loads(said.out)["ok"] is False


def test_a_search_needs_no_trainer(finished: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from aflow_env.cli import app; import aflow_env.search.assemble; "
        "print([name for name in ('verl', 'ray', 'torch', 'vllm', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"
