# SPDX-License-Identifier: Apache-2.0
"""A served policy guides `search`: over HTTP, in vLLM's wire format."""

import json
import math
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from aflow_env.report.runs import read_run
from aflow_env.search.prediction.q import digit_expectation
from aflow_env.search.prediction.served import digit_log_probs
from tests.cli.conftest import SMALL, Command
from tests.search.policy_server import PolicyServer, serve_policy

EDITS = [
    json.dumps({"operation": "add", "operator": name, "position": 2, "parameters": {}, "reason": "why not"})
    for name in ("Review", "Programmer", "Format", "AnswerGenerate")
]
DECIDED = ("selection.lambda_=0", "selection.alpha=100")
"""Selection that follows c alone."""


@pytest.fixture
def policy() -> Iterator[PolicyServer]:
    edits = cycle(EDITS)
    with serve_policy(PolicyServer(edits=lambda prompt: next(edits))) as server:
        yield server


def guided(server: PolicyServer, folder: Path, *more: str) -> tuple[str, ...]:
    named = (f"policy.base_url={server.address}", "policy.model=checkpoint")
    return ("search", f"run_dir={folder}", *named, "final_calls=0", *SMALL, *more, "--json")


def test_a_digit_is_read_by_its_text_whatever_the_token() -> None:
    log_probs = digit_log_probs([("7", math.log(0.25)), (" 7", math.log(0.25)), ("▁2", math.log(0.5)), ("77", -0.1)])
    expectation, mass = digit_expectation(log_probs)
    assert math.exp(log_probs[7]) == pytest.approx(0.5)
    assert log_probs[0] == -math.inf
    assert expectation == pytest.approx(0.5 * 7 / 9 + 0.5 * 2 / 9)
    assert mass == pytest.approx(1.0)


def test_the_search_runs_the_edit_that_the_policy_predicts_best(
    aflow: Command, policy: PolicyServer, tmp_path: Path
) -> None:
    """Four edits are open, and the one whose workflow has a Review is run first."""

    def predicts(prompt: str) -> list[tuple[str, float]]:
        return [("9" if "2. Review" in prompt.split("After the edit:")[1] else "0", 0.8), ("no", 0.2)]

    policy.predicts = predicts
    said = aflow(*guided(policy, tmp_path, "rl_weight=1", "rounds=2", "lookahead.edits=4", *DECIDED))
    assert said.status == 0, said.err
    assert "Review" in said.json["nodes"][1]["modification"]
    stored = read_run(tmp_path / "run.sqlite").rounds
    assert [each.q for each in stored][:2] == [None, 1.0], "the prediction of the edit, for reports"
    question = policy.questions[0]
    assert (question["max_tokens"], question["logprobs"], question["top_logprobs"]) == (1, True, 20)
    assert question["model"] == "checkpoint"


@pytest.mark.parametrize("held", ["off", "auto"])
def test_proposals_are_held_to_the_edits_that_fit(
    aflow: Command, policy: PolicyServer, tmp_path: Path, held: str
) -> None:
    """By a schema in vLLM's and OpenAI's wire format, of proposals alone."""
    said = aflow(*guided(policy, tmp_path, "rl_weight=0.5", "rounds=1", f"policy.structured={held}"))
    assert said.status == 0, said.err
    proposals = [body for body in policy.bodies if not body.get("logprobs")]
    assert proposals
    for body in proposals:
        if held == "off":
            assert "response_format" not in body
            continue
        sent = body["response_format"]
        assert sent["type"] == "json_schema"
        operations = {each["properties"]["operation"]["const"] for each in sent["json_schema"]["schema"]["anyOf"]}
        assert "add" in operations
        assert "remove" not in operations, "the start has one step"
    assert not any("response_format" in body for body in policy.questions)


def test_q_is_read_at_the_temperature_that_it_was_trained_at(
    aflow: Command, policy: PolicyServer, tmp_path: Path
) -> None:
    """Training draws digits from softmax(logits / T), and servers return probabilities of T = 1."""
    policy.predicts = lambda prompt: [("9", 0.8), ("0", 0.2)]
    said = aflow(*guided(policy, tmp_path, "rounds=1", "policy.temperature=0.5", *DECIDED))
    assert said.status == 0, said.err
    expected = 0.8**2 / (0.8**2 + 0.2**2)
    assert read_run(tmp_path / "run.sqlite").rounds[1].q == pytest.approx(expected)


def test_without_weight_the_policy_still_proposes(aflow: Command, policy: PolicyServer, tmp_path: Path) -> None:
    said = aflow(*guided(policy, tmp_path, "rl_weight=0", "rounds=2", "lookahead.nodes=1", "lookahead.edits=1"))
    assert said.status == 0, said.err
    assert "why not" in said.json["nodes"][1]["modification"]


def test_a_resumed_search_asks_nothing_twice(aflow: Command, policy: PolicyServer, tmp_path: Path) -> None:
    aflow(*guided(policy, tmp_path, "rl_weight=0.5", "rounds=2"))
    asked = len(policy.bodies)
    assert aflow("resume", tmp_path).status == 0
    assert len(policy.bodies) == asked
    assert aflow("resume", tmp_path, "rounds=3").status == 0
    prompts = [json.dumps(body, sort_keys=True) for body in policy.questions]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize(
    ("tops", "said"),
    [([("Sure", 0.7), ("The", 0.3)], "'Sure'"), ([], "log-probabilities")],
    ids=["no digit among them", "no log-probabilities at all"],
)
def test_a_policy_that_predicts_nothing_is_an_error_at_once(
    aflow: Command, policy: PolicyServer, tmp_path: Path, tops: list[tuple[str, float]], said: str
) -> None:
    policy.predicts = lambda prompt: tops
    ended = aflow(*guided(policy, tmp_path, "rl_weight=0.5", "rounds=2", "lookahead.edits=4"))
    assert ended.status == 2
    assert said in ended.err
    assert "rl_weight=0" in ended.err
    assert len(policy.questions) <= 4, "those of the first round"
    assert len(read_run(tmp_path / "run.sqlite").rounds) == 1, "and no edit was run"


def test_a_state_that_does_not_fit_the_model_is_cut(aflow: Command, policy: PolicyServer, tmp_path: Path) -> None:
    policy.context = 2600
    long = "problems.start=" + str(tmp_path / "long")
    assert aflow("search", f"run_dir={tmp_path / 'a'}", "rounds=1", *SMALL).status == 0
    start = tmp_path / "a" / "best"
    (tmp_path / "long").mkdir()
    (tmp_path / "long" / "graph.py").write_text((start / "graph.py").read_text())
    (tmp_path / "long" / "prompt.py").write_text(f'STEP_1_PROMPT = """{"word " * 800}"""\n')
    said = aflow(*guided(policy, tmp_path / "b", "rl_weight=0.5", "rounds=1", long))
    assert said.status == 0, said.err
    assert policy.questions


def test_a_policy_without_a_name_is_refused(aflow: Command, policy: PolicyServer, tmp_path: Path) -> None:
    said = aflow(*[word for word in guided(policy, tmp_path, "rl_weight=0.5") if "model=" not in word])
    assert said.status == 2
    assert "policy" in said.err
    assert "model" in said.err
