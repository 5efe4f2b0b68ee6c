# SPDX-License-Identifier: Apache-2.0
"""`search`, `resume`, `show`, `best`: what they print, where, and with which status."""

import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from aflow_env.cli.progress import SearchProgress
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.llm.budget import Spend
from aflow_env.screen import Screen
from aflow_env.search.proposals.proposal import Proposal, State
from aflow_env.search.session import Choice, SearchSession, Turn
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node
from aflow_env.store.store import Store
from aflow_env.tasks.baselines import start_workflow
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.workflow.aflow.aflow_workspace import read_workflow
from tests.cli.conftest import SMALL, Command
from tests.report.runs import large_store
from tests.tasks.tables import small_table

SERVER = ("executor=openai", "executor.model=m", "executor.base_url=http://localhost:1/v1")
"""A model without a price behind a server that is not there."""
NODE = {
    *("session", "round", "parent", "digest", "score", "ci95", "n", "modification", "outcomes", "cost_usd", "tokens"),
    *("calls", "truncated", "unpriced", "q"),
}


def test_json_is_all_that_stdout_carries(aflow: Command, tmp_path: Path) -> None:
    said = aflow("search", f"run_dir={tmp_path}", "rounds=2", *SMALL, "--json")
    assert said.status == 0
    assert set(said.json) == {"best", "nodes", "cost_usd", "unpriced", "stopped", "test"}
    assert said.json["stopped"] == "rounds"
    assert said.json["test"]["n"] == 5
    assert "round 2/2" in said.err


def test_without_a_terminal_progress_is_plain_lines_of_80_columns(aflow: Command, tmp_path: Path) -> None:
    said = aflow("search", f"run_dir={tmp_path}", "rounds=3", *SMALL)
    lines = said.err.splitlines()
    assert len([line for line in lines if line.startswith("round ") and "best" in line and "left" in line]) == 3
    assert all(len(line) <= 80 for line in lines + said.out.splitlines())
    assert "\x1b" not in said.err + said.out


def test_on_a_terminal_one_line_is_live(tmp_path: Path) -> None:
    written = io.StringIO()
    console = Screen(file=written, force_terminal=True, width=80, height=20)
    workflow = start_workflow("default", Arithmetic.spec)
    evaluation = summarise("digest", "key", [ProblemResult("p", 0, Outcome.CORRECT, 1.0)])
    tree = Tree()
    tree.record(Node(1, None, workflow, evaluation))
    node = Node(2, 1, workflow, evaluation, "a change")
    state = State(workflow, Arithmetic.spec, 1.0, 1)
    with SearchProgress(4, lambda: Spend(1_250_000_000_000), console) as progress:
        tree.record(node)
        turn = Turn(state, Choice(1, 1.0), Proposal(""), node)
        progress(SearchSession(tree), turn)
    text = written.getvalue()
    for part in ("round 1/4", "best 1.000", "1.2500 USD", "left", "a change"):
        assert part in text


def test_show_has_the_names_that_others_script_against(aflow: Command, finished: Path) -> None:
    shown = aflow("show", finished, "--json").json
    assert set(shown) == {"best", "nodes", "cost_usd", "unpriced", "failed", "store"}
    assert all(set(node) == NODE for node in shown["nodes"])
    assert shown["best"] in shown["nodes"]
    assert shown["nodes"][0]["round"] == 1
    assert shown["nodes"][0]["parent"] is None
    assert shown["cost_usd"] > 0


def test_show_says_that_the_executor_was_simulated(aflow: Command, finished: Path) -> None:
    said = aflow("show", finished)
    assert "SIMULATED" in said.out
    assert "stopped by: rounds" in said.out


def test_best_is_what_the_search_wrote(aflow: Command, finished: Path, tmp_path: Path) -> None:
    said = aflow("best", finished, "--out", tmp_path / "copy", "--json")
    digest = read_workflow(finished / "best").digest
    assert said.json["digest"] == digest
    assert read_workflow(tmp_path / "copy").digest == digest


def test_resume_goes_on_to_where_one_search_would_be(aflow: Command, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    aflow("search", f"run_dir={one}", "rounds=3", *SMALL)
    aflow("search", f"run_dir={two}", "rounds=1", *SMALL)
    said = aflow("resume", two, "rounds=3")
    assert said.status == 0
    assert "round 1/3" not in said.err
    digests = []
    for folder in (one, two):
        store = Store(folder / "run.sqlite")
        digests.append(store.digest())
        store.close()
    assert digests[0] == digests[1]


def test_a_raised_limit_stays_for_the_next_resume(aflow: Command, tmp_path: Path) -> None:
    aflow("search", f"run_dir={tmp_path}", "rounds=1", *SMALL)
    aflow("resume", tmp_path, "rounds=2", "--json")
    assert len(aflow("resume", tmp_path, "--json").json["nodes"]) <= 3
    assert "round 2/2" not in aflow("resume", tmp_path).err


@pytest.mark.parametrize("override", ["seed=2", "task.validate_size=3", "executor.temperature=0", "rl_weight=0.25"])
def test_a_changed_config_is_an_error_that_names_the_key(aflow: Command, finished: Path, override: str) -> None:
    more = () if override != "rl_weight=0.25" else ("policy.base_url=http://localhost:1/v1", "policy.model=m")
    said = aflow("resume", finished, override, *more)
    assert said.status == 2
    assert override.split("=")[0] in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", ["show", "best", "resume", "test"])
def test_a_folder_that_is_no_run_is_the_users_error(aflow: Command, tmp_path: Path, verb: str) -> None:
    said = aflow(verb, tmp_path)
    assert said.status == 2
    assert str(tmp_path) in said.err
    assert not said.out


@pytest.mark.parametrize(
    ("override", "key"),
    [("no_such_key=1", "no_such_key"), ("rounds=none", "rounds"), ("task=nothing", "task"), ("a b", "a b")],
)
def test_a_wrong_override_is_one_line_and_status_2(aflow: Command, tmp_path: Path, override: str, key: str) -> None:
    said = aflow("search", f"run_dir={tmp_path}", override, "--json")
    assert said.status == 2
    assert key in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not said.out


def test_a_weight_without_a_policy_is_refused(aflow: Command, tmp_path: Path) -> None:
    said = aflow("search", f"run_dir={tmp_path}", "rl_weight=0.5", "q.kind=policy")
    assert said.status == 2
    assert "policy.base_url" in said.err


def test_a_reached_score_ends_the_search(aflow: Command, tmp_path: Path) -> None:
    said = aflow("search", f"run_dir={tmp_path}", "rounds=9", "stop.score=0.0", *SMALL, "--json")
    assert said.json["stopped"].startswith("score")
    assert len(said.json["nodes"]) == 1


def test_time_that_has_passed_ends_the_search(aflow: Command, tmp_path: Path) -> None:
    said = aflow("search", f"run_dir={tmp_path}", "rounds=9", "stop.seconds=0.000001", *SMALL, "--json")
    assert said.json["stopped"].startswith("time")


def test_an_exhausted_budget_is_a_stop_and_can_be_raised(aflow: Command, tmp_path: Path) -> None:
    said = aflow("search", f"run_dir={tmp_path}", "rounds=3", "budget.calls=5", *SMALL)
    assert said.status == 0
    assert "stopped by: budget" in said.out
    assert "budget.calls is reached" in said.out
    assert "not scored: budget.calls is reached" in said.out
    said = aflow("resume", tmp_path, "budget.calls=1000", "--json")
    assert said.status == 0
    assert said.json["stopped"] == "rounds"


def begin(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """A long search in a process of its own, past its first round."""
    command = [sys.executable, "-c", "from aflow_env.cli import main; main()", "search"]
    process = subprocess.Popen(
        [*command, f"run_dir={folder}", "rounds=5000", *SMALL, *overrides],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    return process


def nothing_left_of(process: subprocess.Popen[str]) -> bool:
    """Whether no process of its group is there, half a minute later at most."""
    deadline = time.monotonic() + 30
    while left := subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).stdout:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return not left


@pytest.mark.parametrize("in_flight", [1, 3])
def test_ctrl_c_finishes_what_is_in_flight_and_leaves_a_run_that_goes_on(
    aflow: Command, tmp_path: Path, in_flight: int
) -> None:
    folder = tmp_path / "run"
    process = begin(folder, f"in_flight={in_flight}")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    out, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "finishing the rounds under way" in said
    assert f"aflow-env resume {folder}" in said
    assert "Traceback" not in said
    assert out.startswith("best so far: round ")
    assert nothing_left_of(process)
    shown = aflow("show", folder)
    assert "stopped by: interrupted" in shown.out
    nodes = len(aflow("show", folder, "--json").json["nodes"])
    assert aflow("resume", folder, f"rounds={nodes + 1}").status == 0


def test_a_second_ctrl_c_ends_at_once_and_leaves_a_run_that_goes_on(aflow: Command, tmp_path: Path) -> None:
    """A round of 800 problems takes seconds, so the one in flight is not through when the second comes."""
    folder = tmp_path / "run"
    process = begin(folder, "task.validate_size=800", "limit=800")
    assert process.stderr is not None
    os.killpg(process.pid, signal.SIGINT)
    said = process.stderr.readline()
    while "finishing" not in said:
        said = process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=120)
    assert "best so far" not in out
    assert process.returncode == 130
    assert f"aflow-env resume {folder}" in said
    assert "Traceback" not in said + out
    assert nothing_left_of(process)
    assert aflow("resume", folder, "rounds=1", "final_calls=0").status == 0


def test_show_says_that_a_price_is_unknown_and_replies_were_cut(aflow: Command, tmp_path: Path) -> None:
    """`show` never prints 0.0000 USD for calls without a price, and counts truncated replies beside the outcomes."""
    run = large_store(tmp_path / "run", 3)
    with closing(sqlite3.connect(run / "run.sqlite")) as database, database:
        database.execute("UPDATE evaluations SET unpriced = calls")
    said = aflow("show", run).out
    assert "cost unknown" in said
    assert "0.0000 USD" not in said
    assert "its outcomes: correct 5, wrong 3, 3 replies truncated" in said


def calls(folder: Path) -> tuple[int, int]:
    """Executor calls of the search's nodes, and of all evaluations."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as database:
        nodes = "SELECT sum(calls) FROM (SELECT DISTINCT digest, calls FROM nodes)"
        return tuple(database.execute(sql).fetchone()[0] for sql in (nodes, "SELECT sum(calls) FROM evaluations"))


@pytest.mark.parametrize("final", [0, 3, 12, 40])
def test_the_end_costs_what_the_first_line_says_and_asks_nothing_twice(
    aflow: Command, tmp_path: Path, final: int
) -> None:
    """`final_calls` bounds the choice and the test; the same command again prints the same table for nothing."""
    sizes = ("rounds=2", "limit=2", "task.validate_size=8", "task.test_size=30", f"final_calls={final}")
    said = aflow("search", f"run_dir={tmp_path}", *sizes)
    assert (
        said.err.splitlines()[0]
        == f"the end (choice and test): at most {final} runs, {final} executor calls: final_calls"
    )
    searched, paid = calls(tmp_path)
    assert 0 <= paid - searched <= final
    tested = "(of 30 problems)" if final > 3 else "not scored: final_calls=0 leaves no call"
    assert tested in said.out or final == 3
    again = aflow("search", f"run_dir={tmp_path}", *sizes)
    assert again.out == said.out
    assert calls(tmp_path) == (searched, paid)


def test_the_front_is_in_the_table_and_in_best(aflow: Command, tmp_path: Path) -> None:
    """`best --front` lists the workflows that no other beats, the closing table shows the same."""
    said = aflow("search", f"run_dir={tmp_path}", "rounds=4", *SMALL)
    front = aflow("best", tmp_path, "--front").out.splitlines()
    assert front
    assert all(line.split("  ")[0] in said.out and line.split()[-1] in said.out for line in front[-5:])
    found = aflow("best", tmp_path, "--front", "--json").json
    assert [f"{each['score']:.3f}" for each in found["front"]] == [line.split()[0] for line in front]
    assert found["unpriced_workflows"] == 0
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as database, database:
        database.execute("UPDATE nodes SET unpriced = calls, cost_usd = 0, usd_a_problem = NULL")
    assert aflow("best", tmp_path, "--front").out == "unknown: no price is known of these workflows' calls\n"


def test_the_weight_of_cost_steers_the_search_and_its_end(aflow: Command, tmp_path: Path) -> None:
    """With a USD that is worth more than any score, the best workflow is the cheapest."""
    sizes = ("rounds=5", "selection.cost_weight=100000", *SMALL)
    found = aflow("search", f"run_dir={tmp_path}", *sizes, "--json").json
    price = {node["digest"]: node["cost_usd"] / node["n"] for node in found["nodes"]}
    assert price[found["best"]["digest"]] == min(price.values())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("executor=openai", "executor.model=m", "executor.base_url=http://localhost:1/v1"), "has no price"),
        (("executor=vllm", "executor.model=m", "executor.base_url=http://localhost:1/v1"), "executor.prices=free"),
    ],
)
def test_a_weight_that_cannot_be_honoured_is_refused(
    aflow: Command, tmp_path: Path, overrides: tuple[str, ...], said: str
) -> None:
    """No price, or a free server."""
    found = aflow("search", f"run_dir={tmp_path}", "selection.cost_weight=1", *overrides)
    assert found.status == 2
    assert said in found.err
    assert "selection.cost_weight" in found.err


def test_a_table_is_searched_by_its_name_alone(aflow: Command, tmp_path: Path) -> None:
    """`table=FILE` with its task is all that a user types; no model, key or data is named."""
    said = aflow(
        *("search", "task=mbpp", f"table={small_table(tmp_path)}", "rl_weight=0", "rounds=3"),
        *("lookahead.nodes=1", "lookahead.edits=1", f"run_dir={tmp_path / 'run'}"),
    )
    assert said.status == 0, said.err
    assert "best, test" in said.out


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("task=drop", *SERVER), "task.path is null"),
        (("task=gsm8k", "task.path=/nowhere", *SERVER), "task.path='/nowhere'"),
        (("executor=anthropic", "executor.model=claude-x"), "ANTHROPIC_API_KEY"),
        (("stop.usd=1", *SERVER), "has no price"),
        (("problems.start=/nowhere",), "problems.start=/nowhere"),
        (("proposer=llm",), "proposer=llm has no model"),
        (("q.kind=surrogate", "rl_weight=0.5", "q.runs=[/nowhere]"), "q.runs=/nowhere"),
    ],
)
def test_a_refused_search_leaves_no_folder(
    aflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], said: str
) -> None:
    """Nothing is made before data, key, price, start, proposer and predictor are there."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    found = aflow("search", f"run_dir={tmp_path / 'runs/new'}", *overrides)
    assert found.status == 2
    assert said in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_search_that_the_lock_refuses_changes_nothing(aflow: Command, tmp_path: Path) -> None:
    """The run of the other config stays as it was, and its log has no line more."""

    def content() -> tuple[set[str], bytes, list[tuple[object, ...]]]:
        names = {file.name for file in tmp_path.iterdir() if not file.name.endswith(("-wal", "-shm"))}  # SQLite's own
        with closing(sqlite3.connect(tmp_path / "run.sqlite")) as database:
            rows = database.execute("SELECT kind, data FROM events UNION ALL SELECT key, value FROM meta").fetchall()
        return names, (tmp_path / "metrics.jsonl").read_bytes(), rows

    sizes = ("rounds=1", "final_calls=0", "logger=[jsonl]", *SMALL)
    assert aflow("search", f"run_dir={tmp_path}", *sizes).status == 0
    before = content()
    found = aflow("search", f"run_dir={tmp_path}", "seed=7", *sizes)
    assert found.status == 2
    assert "holds a run with another config" in found.err
    assert content() == before
