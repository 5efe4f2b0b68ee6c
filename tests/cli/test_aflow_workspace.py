# SPDX-License-Identifier: Apache-2.0
"""AFlow's workspaces in and out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aflow_env.errors import ConfigError
from aflow_env.store.store import Store
from aflow_env.workflow.aflow.aflow_workspace import Workspace, read_workspace
from tests.cli.conftest import SMALL, Command

GRAPH = """\
from typing import Literal
import workspace.GSM8K.workflows.template.operator as operator
import workspace.GSM8K.workflows.round_{n}.prompt as prompt_custom
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
        \"\"\"
        Implementation of the workflow
        \"\"\"
        solutions = []
        for _ in range({n}):
            solution = await self.custom(input=problem, instruction=prompt_custom.SOLVE_PROMPT)
            solutions.append(solution['response'])
        result = await self.sc_ensemble(solutions=solutions, problem=problem)
        return result['response'], self.llm.get_usage_summary()["total_cost"]
"""
SCORES = {1: (0.5, 0.25), 2: (0.75, 0.75), 3: (0.5, 0.5)}
FATHERS = {2: 1, 3: 2, 4: 2, 5: 4}


def aflow_writes(root: Path) -> Path:
    """A workspace as AFlow leaves it: three scored rounds, one that failed, and a child of that one."""
    home = root / "workspace" / "GSM8K" / "workflows"
    results: list[dict[str, Any]] = []
    for number in range(1, 6):
        folder = home / f"round_{number}"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "graph.py").write_text(GRAPH.format(n=number))
        (folder / "prompt.py").write_text(f'SOLVE_PROMPT = """Think step by step ({number})."""\n')
        scores = SCORES.get(number, ())
        for score in scores if number != 4 else ():
            entry = {"round": number, "score": score, "avg_cost": 0.001, "total_cost": 0.004}
            results.append({**entry, "time": f"2025-01-0{number} 10:00:00.000001"})
        if number > 1:
            father = FATHERS[number]
            before = sum(SCORES.get(father, (0.0, 0.0))) / 2
            after = sum(scores) / 2 if scores else None
            experience = {"father node": father, "modification": f"change {number}", "before": before, "after": after}
            succeed = None if after is None else after > before
            (folder / "experience.json").write_text(json.dumps({**experience, "succeed": succeed}, indent=4))
        if scores:
            case = {"question": "q?", "right_answer": 4.0, "model_output": "5", "extracted_output": 5.0}
            (folder / "log.json").write_text(json.dumps([case], indent=4))
    results.append({"round": 5, "score": 0.5, "avg_cost": 0.0, "total_cost": 0.0, "time": "x"})
    rows = "question,prediction,expected_output,score,cost\n" + "".join(
        f"q{i},a,b,{int(i < 2)},0.1\n" for i in range(4)
    )
    (home / "round_1" / "0.5_20250101_100000.csv").write_text(rows)
    (home / "results.json").write_text(json.dumps(results, indent=4))
    (home / "processed_experience.json").write_text("{}")
    return root / "workspace"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return aflow_writes(tmp_path)


def test_an_imported_search_is_a_run(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    said = aflow("import", workspace, "--out", tmp_path / "run", "--json")
    assert said.status == 0, said.err
    shown = aflow("show", tmp_path / "run", "--json").json
    assert [(node["round"], node["parent"], node["score"]) for node in shown["nodes"]] == [
        (1, None, 0.375),
        (2, 1, 0.75),
        (3, 2, 0.5),
    ]
    assert shown["nodes"][1]["modification"] == "change 2"
    assert shown["nodes"][0]["n"] == 4
    assert shown["nodes"][1]["ci95"] == [0.0, 1.0]
    assert shown["nodes"][1]["cost_usd"] == pytest.approx(0.008)
    assert shown["best"]["round"] == 2
    assert set(said.json["left_out"]) == {"4", "5"}


def test_their_workflows_run_unmodified(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    folder = workspace / "GSM8K" / "workflows" / "round_3"
    before = {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}
    said = aflow("evaluate", folder, f"run_dir={tmp_path / 'run'}", *SMALL, "--json")
    assert said.status == 0
    assert set(said.json["outcomes"]) <= {"correct", "wrong"}
    assert said.json["tokens"]["output"] > 0
    assert {file.name: file.read_text() for file in folder.iterdir() if file.is_file()} == before


def test_import_and_export_give_the_workspace_back(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    aflow("import", workspace, "--out", tmp_path / "run")
    said = aflow("export", tmp_path / "run", "--out", tmp_path / "again")
    assert said.status == 0, said.err
    one, two = read_workspace(workspace), read_workspace(tmp_path / "again")
    assert two.dataset == "GSM8K"
    assert two.rounds == tuple(replace(each, scores=()) for each in one.rounds)
    experience = json.loads((tmp_path / "again" / "GSM8K" / "workflows" / "processed_experience.json").read_text())
    assert experience["1"] == {
        "score": 0.375,
        "success": {"2": {"modification": "change 2", "score": 0.75}},
        "failure": {},
    }


def test_importing_twice_changes_nothing(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    digests = []
    for _ in range(2):
        assert aflow("import", workspace, "--out", tmp_path / "run").status == 0
        store = Store(tmp_path / "run" / "run.sqlite")
        digests.append(store.digest())
        store.close()
    assert digests[0] == digests[1]


def test_a_run_of_ours_becomes_a_workspace_that_says_the_same(aflow: Command, finished: Path, tmp_path: Path) -> None:
    aflow("export", finished, "--out", tmp_path)
    found = read_workspace(tmp_path)
    nodes = {node["round"]: node for node in aflow("show", finished, "--json").json["nodes"]}
    assert {each.number for each in found.rounds} == set(nodes)
    for each in found.rounds:
        node = nodes[each.number]
        assert each.workflow.digest == node["digest"]
        assert each.father == node["parent"]
        assert each.score == pytest.approx(node["score"])
        assert f"round_{each.number}.prompt" in each.workflow.graph
        assert len(each.log) == node["outcomes"].get("wrong", 0)
        assert all(case["question"] and case["right_answer"] for case in each.log)
    assert (tmp_path / "ARITHMETIC" / "workflows" / "template" / "operator.json").is_file()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rounds=3"], "rounds=3: without an executor no config is kept"),
        (["seed=many"], "seed='many'"),
        (["task=gsm9k"], "gsm9k"),
        (["selektion.sample=3"], "selektion.sample=3"),
        (["executor=simulated", "task=arithmetic", "rouns=3"], "rouns"),
    ],
)
def test_an_import_ignores_nothing_that_it_is_told(
    aflow: Command, workspace: Path, tmp_path: Path, overrides: list[str], said: str
) -> None:
    ended = aflow("import", workspace, "--out", tmp_path / "run", *overrides)
    assert ended.status == 2
    assert said in ended.err
    assert not (tmp_path / "run").exists()


def test_a_search_goes_on_from_an_imported_one(aflow: Command, finished: Path, tmp_path: Path) -> None:
    aflow("export", finished, "--out", tmp_path / "workspace")
    aflow("import", tmp_path / "workspace", "--out", tmp_path / "run", "executor=simulated", *SMALL)
    before = aflow("show", tmp_path / "run", "--json").json["nodes"]
    said = aflow("resume", tmp_path / "run", f"rounds={len(before) + 1}", "--json")
    assert said.status == 0, said.err
    assert said.json["nodes"][: len(before)] == before
    assert len(said.json["nodes"]) >= len(before)
    assert "round " in said.err


def test_an_imported_run_without_an_executor_asks_for_one(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    aflow("import", workspace, "--out", tmp_path / "run")
    said = aflow("resume", tmp_path / "run")
    assert said.status == 2
    assert "executor" in said.err


def test_an_unknown_data_set_needs_a_task(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    (workspace / "GSM8K").rename(workspace / "Riddles")
    said = aflow("import", workspace, "--out", tmp_path / "run")
    assert said.status == 2
    assert "task=" in said.err
    assert aflow("import", workspace, "--out", tmp_path / "run", "task=gsm8k").status == 0


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("results.json", "{"),
        ("results.json", '{"round": 1}'),
        ("results.json", '[{"round": 1, "score": 1.5}]'),
        ("results.json", '[{"round": 2, "score": 0.5}]'),
        ("round_2/experience.json", "[]"),
        ("round_2/log.json", "nonsense"),
    ],
)
def test_what_cannot_be_read_is_named(aflow: Command, workspace: Path, tmp_path: Path, file: str, text: str) -> None:
    (workspace / "GSM8K" / "workflows" / file).write_text(text)
    said = aflow("import", workspace, "--out", tmp_path / "run")
    assert said.status == 2
    assert "workflows" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_standalone_export_is_a_module(aflow: Command, finished: Path, tmp_path: Path) -> None:
    said = aflow("export", finished, "--standalone", "--out", tmp_path / "best.py")
    assert said.status == 0
    source = (tmp_path / "best.py").read_text()
    assert "aflow_env." not in source.replace("aflow_env. `ask`", "")
    compile(source, "best.py", "exec")


def test_several_data_sets_must_be_told_apart(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    aflow_writes(tmp_path / "other")
    (tmp_path / "other" / "workspace" / "GSM8K").rename(workspace / "MATH")
    said = aflow("import", workspace, "--out", tmp_path / "run")
    assert said.status == 2
    assert "MATH" in said.err
    assert isinstance(read_workspace(workspace / "MATH"), Workspace)


def test_empty_files_and_byte_order_marks_are_read_as_aflow_reads_them(workspace: Path) -> None:
    """Promise: an empty log.json is no log, a BOM is no text, and an empty results.json scores nothing."""
    home = workspace / "GSM8K" / "workflows"
    (home / "round_2" / "log.json").write_text("")
    for file in (home / "results.json", home / "round_3" / "experience.json", *home.glob("round_1/*.csv")):
        file.write_text(file.read_text(), encoding="utf-8-sig")
    found = read_workspace(workspace)
    assert [(each.number, len(each.log), len(each.scores)) for each in found.rounds] == [
        (1, 1, 4),
        (2, 0, 0),
        (3, 1, 0),
    ]
    (home / "results.json").write_text(" ")
    with pytest.raises(ConfigError, match=r"round 1.*no score in results\.json"):
        read_workspace(workspace)


def test_a_csv_counts_for_the_run_whose_mean_it_has(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    """Promise: of several CSVs the latest with an entry's score counts; the others are named at import."""
    home = workspace / "GSM8K" / "workflows" / "round_1"
    for name, scores in (("0.50000_20240101_100000", "1111"), ("0.50000_20260101_100000", "0011"), ("x", "0001")):
        rows = "".join(f"q,a,b,{score},0\n" for score in scores)
        (home / f"{name}.csv").write_text(f"question,prediction,expected_output,score,cost\n{rows}")
    found = read_workspace(workspace)
    assert found.rounds[0].scores == (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    assert [file.name for file in found.stale] == ["0.50000_20240101_100000.csv", "0.5_20250101_100000.csv"]
    said = aflow("import", workspace, "--out", tmp_path / "run")
    assert said.out.count("not counted: ") == 2


def test_a_round_that_cannot_run_here_is_named_at_import(aflow: Command, workspace: Path, tmp_path: Path) -> None:
    """Promise: a module that is not there (`weave`, MetaGPT's) is told by round, at import, and not as a score of 0."""
    graph = workspace / "GSM8K" / "workflows" / "round_2" / "graph.py"
    graph.write_text("import weave\n" + graph.read_text())
    said = aflow("import", workspace, "--out", tmp_path / "run")
    assert (
        "round 2 keeps AFlow's score, but would not run here: line 1: the module 'weave' may not be imported"
        in said.out
    )
    assert list(aflow("import", workspace, "--out", tmp_path / "run", "--json").json["refused"]) == ["2"]
