# SPDX-License-Identifier: Apache-2.0
"""`init`: what it writes is a whole task that searches at once."""

import os
from pathlib import Path

import pytest

from aflow_env.cli.compose import load
from aflow_env.tasks import load_task
from tests.cli.conftest import Command
from tests.tasks.support import no_code


def test_the_task_is_searched_as_init_says(aflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that init prints works as it stands, and names the executor as simulated."""
    monkeypatch.chdir(tmp_path)
    said = aflow("init", "units")
    assert said.status == 0
    words = said.out.strip().splitlines()[-1].split()
    assert words[:2] == ["aflow-env", "search"]
    found = aflow(*words[1:], "rounds=2")
    assert found.status == 0, found.err
    assert "SIMULATED executor" in found.out
    used = aflow("run", "units/runs/first", "--input", "units/data/test.jsonl", "--output", "units/answers.jsonl")
    assert (used.status, "10 answered" in used.out) == (0, True)


async def test_the_scorer_tells_right_from_wrong(aflow: Command, tmp_path: Path) -> None:
    """Ten problems steer, ten others test, and the scorer gives 1 for the answer alone."""
    aflow("init", tmp_path / "weights")
    task = load_task(load(["task=own", f"task.name={tmp_path}/weights/weights.yaml"]).task)
    validate, test = task.load("validate"), task.load("test")
    assert (len(validate), len(test)) == (10, 10)
    assert not {problem.prompt for problem in validate} & {problem.prompt for problem in test}
    for problem in (*validate, *test):
        scores = [
            (await task.score(problem, said, no_code)).value
            for said in (f"The answer is {problem.answer}.", "none", f"{problem.answer}1")
        ]
        assert scores == [1.0, 0.0, 0.0]


def test_nothing_is_overwritten_and_names_are_checked(aflow: Command, tmp_path: Path) -> None:
    """A folder that is there, even an empty one, is left alone; a name that Python cannot import is refused."""
    (tmp_path / "mine").mkdir()
    said = aflow("init", tmp_path / "mine")
    assert (said.status, "nothing is overwritten" in said.err) == (2, True)
    assert not list((tmp_path / "mine").iterdir())
    for name in ("1st", "my-task", "a.b"):
        refused = aflow("init", tmp_path / name)
        assert (refused.status, f"{tmp_path / name}: a task's name" in refused.err) == (2, True)
        assert not (tmp_path / name).exists()
    assert "aflow-env: .: a task's name" in aflow("init", ".").err


def test_a_task_that_the_simulation_cannot_read_is_refused(aflow: Command, tmp_path: Path) -> None:
    """The simulated executor answers arithmetic stories alone; a task of others is an error, not a score of 0."""
    aflow("init", tmp_path / "mine")
    (tmp_path / "mine" / "data" / "validate.jsonl").write_text('{"question": "Who wrote Faust?", "answer": 1}\n')
    run = tmp_path / "run"
    said = aflow("search", "task=own", f"task.name={tmp_path}/mine/mine.yaml", f"run_dir={run}", "rounds=2")
    assert (said.status, "only knows arithmetic stories" in said.err) == (2, True)


def test_a_task_is_whole_or_not_there(aflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between two files leaves no half of a task under its name, so the same command works again."""
    monkeypatch.setattr("aflow_env.cli.use.init.write_text", lambda path, text: os._exit(9))
    if (child := os.fork()) == 0:
        aflow("init", tmp_path / "units")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    assert not (tmp_path / "units").exists()
