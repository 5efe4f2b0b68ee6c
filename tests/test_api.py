# SPDX-License-Identifier: Apache-2.0
"""The Python side: a search, a stored run and its workflows, with and without an event loop."""

import asyncio
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
import pytest

import aflow_env
from aflow_env.api import FoundRun, SearchRound, overrides
from aflow_env.cli.arguments import search_config
from aflow_env.errors import ConfigError
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.findings import overview
from tests.llm.server import serve_beside

STORY = "Mia has 12 apples. She buys 7 more. How many apples does Mia have now?"
SMALL: dict[str, Any] = {"limit": 4, "task": {"validate_size": 4, "test_size": 5}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FoundRun:
    """A finished search of three rounds."""
    return aflow_env.search(rounds=3, run_dir=tmp_path_factory.mktemp("api") / "run", **SMALL)


def test_a_search_is_the_command_lines(run: FoundRun) -> None:
    """Python and `aflow-env show` say the same of a run, by the same names."""
    store = ReadOnlyStore(run.run_dir / "run.sqlite")
    shown = overview(store)
    store.close()
    assert [node.score for node in run.nodes] == [node["score"] for node in shown["nodes"]]
    assert run.best.digest == shown["best"]["digest"]
    assert (run.stopped, run.test["n"] if run.test else 0) == ("rounds", 5)
    assert run.cost_usd == shown["cost_usd"] > 0


def test_every_round_is_told(tmp_path: Path) -> None:
    """`on_round` hears of each round with its score, the best so far and the cost; an error in it ends the search."""
    heard: list[SearchRound] = []
    found = aflow_env.search(rounds=3, run_dir=tmp_path / "a", on_round=heard.append, **SMALL)
    assert [(each.number, each.of) for each in heard] == [(1, 3), (2, 3), (3, 3)]
    assert max(node.score for node in found.nodes) == heard[-1].best
    assert heard[-1].cost_usd > 0

    def stop(_: SearchRound) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        aflow_env.search(rounds=3, run_dir=tmp_path / "b", on_round=stop, **SMALL)
    assert len(aflow_env.load(tmp_path / "b").nodes) in (1, 2), "the round that ended is on disk"


def test_a_workflow_is_called_with_a_problem(run: FoundRun) -> None:
    """The best workflow answers in the sandbox, with tokens and cost, by the executor of the run or another."""
    said = run.best.workflow(STORY)
    assert (said.outcome, said.error) == ("ok", "")
    assert any(character.isdigit() for character in said.text)
    assert said.calls >= 1
    assert said.cost_usd
    assert said.input_tokens > 10
    with serve_beside(model=lambda prompt: "nineteen") as (address, books):
        executor = {"kind": "openai", "model": "m", "base_url": f"{address}/v1", "prices": "free"}
        assert aflow_env.load(run.run_dir, executor=executor).best.workflow(STORY).text == "nineteen"
        assert books.billed


async def test_it_works_where_a_loop_runs(run: FoundRun, tmp_path: Path) -> None:
    """A notebook's cell runs in an event loop: the plain functions work there too, and so do the async ones."""
    assert aflow_env.load(run.run_dir) == run
    assert aflow_env.search(rounds=1, run_dir=tmp_path / "a", **SMALL).best.score > 0
    found, said = await asyncio.gather(
        aflow_env.asearch(rounds=1, run_dir=tmp_path / "b", **SMALL), run.best.workflow.answer(STORY)
    )
    assert found.nodes
    assert said.outcome == "ok"
    assert run.best.workflow(STORY).outcome == "ok"


async def test_an_interrupt_in_a_notebook_ends_the_search(tmp_path: Path) -> None:
    """The kernel's interrupt reaches a search that works in a thread: no thread goes on, and the run can go on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a kernel: pytest's loop took it over
    before = set(threading.enumerate())
    keys = {"run_dir": tmp_path, "on_round": lambda _: signal.raise_signal(signal.SIGINT), **SMALL}
    with pytest.raises(KeyboardInterrupt):
        aflow_env.search(rounds=500, **keys)
    assert set(threading.enumerate()) == before
    assert aflow_env.load(tmp_path).stopped is None


def test_a_frame_has_a_row_for_each_node(run: FoundRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pandas a table; without it an error that says so."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = run.frame()
    assert list(frame["score"]) == [node.score for node in run.nodes]
    assert frame.loc[0, "workflow"] == run.nodes[0].workflow.graph
    assert isinstance(frame, pandas.DataFrame)
    monkeypatch.setattr("aflow_env.api.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        run.frame()


@pytest.mark.parametrize(
    ("keys", "typed"),
    [
        ({"task": "arithmetic", "seed": 3}, ["task=arithmetic", "seed=3"]),
        ({"executor": "vllm", "executor.model": "m"}, ["executor=vllm", "executor.model=m"]),
        ({"executor": {"kind": "openai", "model": "a b", "base_url": "http://h:1/v1"}, "rounds": 5},
         ["executor=openai", "executor.model='a b'", "executor.base_url=http://h:1/v1", "rounds=5"]),
        ({"task": "own.yaml", "executor": {"kind": "anthropic", "model": "m"}},
         ["task=own", "task.name=own.yaml", "executor=anthropic", "executor.model=m"]),
        ({"final_calls": 0, "stop": {"usd": None, "score": 0.5}},
         ["final_calls=0", "stop.usd=null", "stop.score=0.5"]),
        ({"task.options": {"operators": ("Custom", "Format"), "split_seed": 1}, "task": "gsm8k", "executor": "policy"},
         ["task=gsm8k", "executor=policy", "task.options.operators=[Custom,Format]", "task.options.split_seed=1"]),
    ],
)  # fmt: skip
def test_keys_are_the_command_lines(keys: dict[str, Any], typed: list[str]) -> None:
    """A dict, a dotted name and a group come to the config that the command line's words come to."""
    assert search_config(overrides(keys)) == search_config(typed)


def test_texts_arrive_as_they_are(tmp_path: Path) -> None:
    """Quotes, brackets, backslashes, line ends and other scripts in a value need no escape of the user's."""
    texts = ("It's {odd}: [a], \\ or 'b'", "", 'a "b"\n', "ünïcode ✓, null", "back\\")
    config = search_config(overrides({"task": {"instructions": texts}, "run_dir": tmp_path / "a run's=folder"}))
    assert (config.task.instructions, config.run_dir) == (texts, str(tmp_path / "a run's=folder"))


def test_a_wrong_key_is_explained() -> None:
    """A key that is not there is refused by its name, before anything starts."""
    with pytest.raises(ConfigError, match=r"executor\.modell='m': there is no such key"):
        aflow_env.search(executor={"modell": "m"})
    with pytest.raises(ConfigError, match="roundz=3: there is no such key"):
        aflow_env.search(roundz=3)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """verl imports the package in every process: the Python side comes with its first use."""
    code = (
        "import sys, aflow_env; aflow_env.__version__; heavy = {'hydra', 'pydantic', 'numpy', 'typer', 'httpx'}; "
        "print(*[name for name in sys.modules if name in heavy or name.startswith('aflow_env.')], end='')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_the_search_room_stays_a_module() -> None:
    """`aflow_env.search` is the function, and still the package that holds the search's modules."""
    assert import_module("aflow_env.search.tree") is aflow_env.search.tree  # type: ignore[attr-defined]
    assert callable(aflow_env.search)
    with pytest.raises(AttributeError, match="nothing"):
        aflow_env.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_call_that_is_refused_writes_nothing_into_the_runs_logs(run: FoundRun) -> None:
    with pytest.raises(ConfigError, match="another config"):
        aflow_env.search(rounds=3, run_dir=run.run_dir, seed=1, logger=["jsonl"], **SMALL)
    assert not (run.run_dir / "metrics.jsonl").exists()


def test_numbers_of_numpy_are_numbers_and_other_values_are_refused_with_their_key() -> None:
    """A key takes what JSON has; an error names the key, the value and what it takes."""
    found = overrides({"rounds": numpy.int64(3), "q": {"runs": [numpy.float32(0.5)]}})
    assert found == ["++rounds=3", "++q.runs=[0.5]"]
    for value in ({1, 2}, b"x", [{3}], numpy.zeros(2)):
        with pytest.raises(ConfigError, match=r"task\.path=.*give text"):
            overrides({"task": {"path": value}})
