# SPDX-License-Identifier: Apache-2.0
"""HotpotQA and DROP: the official forms of their records, and AFlow's F1."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.scorers import f1, normalise, score_alternatives, score_same_text
from tests.tasks.support import config, no_code

TEXT = st.text(alphabet="ab the,.|1 ", max_size=30)


def hotpot(number: int) -> dict[str, object]:
    return {
        "_id": f"5a{number:04x}",
        "question": f"Which town lies near lake {number}?",
        "answer": f"Port {number}",
        "context": [[f"Lake {number}", ["The lake is wide.", f" Port {number} lies there."]], ["Else", ["Nothing."]]],
        "type": "bridge",
        "level": "hard",
    }


async def test_drop_scores_twenty_real_questions_right_and_wrong(shared: Path) -> None:
    task = load_task(config("drop", shared / "data" / "drop"))
    problems = task.load("validate")
    assert len(problems) == 20
    for problem in problems:
        gold = problem.answer.split("|")[0]
        right = await task.score(problem, f"The {gold}.", no_code)
        wrong = await task.score(problem, "zebra", no_code)
        assert (right.value, right.correct) == (1.0, True)
        assert (wrong.value, wrong.correct) == (0.0, False)
        assert problem.prompt.startswith("Passage:")
        assert problem.answer not in problem.prompt[-20:]


async def test_hotpotqa_scores_twenty_realistic_questions(tmp_path: Path) -> None:
    (tmp_path / "hotpot.json").write_text(json.dumps([hotpot(n) for n in range(100)]), encoding="utf-8")
    task = load_task(config("hotpotqa", tmp_path / "hotpot.json"))
    problems = task.load("validate")
    assert len(problems) == 20
    for problem in problems:
        assert problem.prompt.startswith("Context: The lake is wide.  Port ")
        assert problem.prompt.endswith("?\n\nAnswer:")
        assert (await task.score(problem, problem.answer.lower(), no_code)).value == 1.0
        assert (await task.score(problem, f"It is {problem.answer}", no_code)).value == pytest.approx(2 / 3)
        assert (await task.score(problem, "Nowhere", no_code)).value == 0.0
    assert len(task.load("test")) == 20


def test_hotpotqa_reads_the_hugging_face_form_too(tmp_path: Path) -> None:
    row = hotpot(1) | {"context": {"title": ["A", "B"], "sentences": [["One.", " Two."], ["Three."]]}}
    (tmp_path / "validate.jsonl").write_text(json.dumps(row) + "\n")
    problem = load_task(config("hotpotqa", tmp_path)).load("validate")[0]
    assert problem.prompt.startswith("Context: One.  Two.\nThree.\n\nQuestion: ")


@pytest.mark.parametrize("context", ["text", [["only a title"]], [["t", "no list"]], {"title": []}, [["t", [1]]]])
def test_a_bad_context_is_named(tmp_path: Path, context: object) -> None:
    (tmp_path / "validate.json").write_text(json.dumps([hotpot(0), hotpot(1) | {"context": context}]))
    with pytest.raises(ConfigError, match=r"validate\.json line 2, field `context` should be a list of \[title"):
        load_task(config("hotpotqa", tmp_path)).load("validate")


def test_an_id_that_is_there_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "validate.json").write_text(json.dumps([hotpot(0), hotpot(0)]))
    with pytest.raises(ConfigError, match=r"line 2: the id '5a0000' is there twice"):
        load_task(config("hotpotqa", tmp_path)).load("validate")


def test_an_empty_gold_is_named(tmp_path: Path) -> None:
    (tmp_path / "validate.jsonl").write_text('{"context": "c", "ref_text": " | "}\n')
    with pytest.raises(ConfigError, match=r"line 1, field `ref_text` holds no answer"):
        load_task(config("drop", tmp_path)).load("validate")


def test_normalisation() -> None:
    assert normalise("  The U.S.A., a  Nation! ") == "usa nation"
    assert normalise("another theme") == "another theme"


@settings(deadline=None)  # the machine may be busy with other things
@given(left=TEXT, right=TEXT)
def test_f1_is_symmetric_and_one_only_for_the_same_words(left: str, right: str) -> None:
    assert f1(left, right) == f1(right, left)
    assert 0.0 <= f1(left, right) <= 1.0
    same = sorted(normalise(left).split()) == sorted(normalise(right).split()) != []
    assert (f1(left, right) == 1.0) == same


@settings(deadline=None)
@given(golds=st.lists(TEXT, min_size=1, max_size=3), output=TEXT)
def test_alternatives_are_the_best_of_all_pairs(golds: list[str], output: str) -> None:
    parts = [gold for text in golds for gold in text.split("|") if gold.strip()]
    best = max((f1(gold, part) for gold in parts for part in output.split("|")), default=0.0)
    assert score_alternatives("|".join(golds), output).value == best


def test_same_text_forgives_case_and_punctuation_alone() -> None:
    assert score_same_text("New York", "new york.").value == 1.0
    assert score_same_text("New York", "York").value == 0.0
