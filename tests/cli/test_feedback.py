# SPDX-License-Identifier: Apache-2.0
"""A scorer's text, from an own task through a search to the proposer, to people, and to a replay."""

import json
import re
from itertools import cycle
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.cli.test_any_text import check_tree
from tests.search.policy_server import PolicyServer, serve_policy
from tests.tasks.test_own import same_path
from tests.texts import obeyed

__all__ = ["same_path"]
TASK = """
name: stories
path: stories/data
prompt: "{question}"
answer: "{answer}"
scorer: SCORER:score
operators: [Custom, AnswerGenerate, Programmer, Format]
"""
SCORER = '''
def score(answer, output):
    """Never satisfied, and rude to terminals."""
    if output.strip().endswith(answer):
        return 0.9, "[red]almost[/red] \\x1b[31m:free: it ends in " + answer
    return False, f"not {answer}\\n</script><b onclick=x>"
'''
EDITS = [
    json.dumps({"operation": "add", "operator": name, "position": 2, "parameters": {}, "reason": "why not"})
    for name in ("Format", "Programmer", "AnswerGenerate")
]


@pytest.fixture
def task(aflow: Command, tmp_path: Path, same_path: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """An own task whose scorer never gives 1."""
    monkeypatch.chdir(tmp_path)
    assert aflow("init", "stories").status == 0
    Path("stories.yaml").write_text(TASK.replace("SCORER", "rude_scorer"), encoding="utf-8")
    Path("rude_scorer.py").write_text(SCORER, encoding="utf-8")
    return "task.name=stories.yaml"


def search(aflow: Command, task: str, folder: str, *more: str) -> None:
    said = aflow("search", "task=own", task, f"run_dir={folder}", "rounds=3", "limit=4", "final_calls=0", *more)
    assert said.status == 0, said.err


def test_the_proposer_reads_text_and_steps_and_a_replay_reads_the_same(aflow: Command, task: str) -> None:
    """Promise: text and steps stand in the state, and a run that is played again from its record has the same store."""
    edits = cycle(EDITS)
    policy = PolicyServer(edits=lambda prompt: next(edits))
    with serve_policy(policy):
        guided = ("policy.model=checkpoint", f"policy.base_url={policy.address}")
        search(aflow, task, "a", *guided, "executor.mode=record")
    asked = [body["messages"][-1]["content"] for body in policy.bodies if not body.get("logprobs")]
    assert asked
    for prompt in asked:
        assert re.search(r"feedback: (not \d+\n|\[red\]almost)", prompt)
        assert re.search(r"steps:\n1\. Custom: .", prompt)
    search(aflow, task, "b", *guided, "executor.mode=replay", "recording=a")
    shown = [aflow("show", name, "--json").json for name in "ab"]
    assert shown[0]["store"] == shown[1]["store"]
    assert shown[0]["failed"] == shown[1]["failed"]


def test_people_read_it_as_text(aflow: Command, task: str) -> None:
    """Promise: `show` and the tree's page have the text of failed cases, and obey nothing in it."""
    search(aflow, task, "run")
    shown = aflow("show", "run")
    assert not obeyed(shown.out)
    assert "best failed stories/validate/" in shown.out
    failed = aflow("show", "run", "--json").json["failed"]
    assert len(failed) == 3
    for case in failed:
        assert case["feedback"].startswith(("not ", "[red]almost[/red] \x1b[31m:free:"))
        assert case["trace"].startswith("1. Custom: ")
    pytest.importorskip("jinja2", reason="needs aflow-env[report]")
    assert aflow("tree", "run", "--out", "tree.html").status == 0
    check_tree(Path("tree.html").read_text(encoding="utf-8"))


def test_a_scorer_that_gives_no_score_is_named_with_value_and_fix(aflow: Command, task: str) -> None:
    """Promise: the error has the scorer, the value, the problem and what to return; exit status 2."""
    Path("mute_scorer.py").write_text("def score(answer, output):\n    return {'score': 1}\n", encoding="utf-8")
    Path("stories.yaml").write_text(TASK.replace("SCORER", "mute_scorer"), encoding="utf-8")
    said = aflow("search", "task=own", task, "run_dir=run", "rounds=2", "limit=2")
    assert said.status == 2
    text = " ".join(said.err.split())
    assert "scorer='mute_scorer:score' gave {'score': 1} (dict) for stories/validate/" in text
    assert "return a number from 0 to 1, True or False, a tuple of one of these and a text, or a Score" in text
