# SPDX-License-Identifier: Apache-2.0
"""GSM8K, HotpotQA and DROP: the official forms of their records, AFlow's split and scorers."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.scorers import (
    f1,
    last_number,
    normalise,
    readings,
    score_alternatives,
    score_f1,
    score_same_text,
)
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


def test_an_empty_hotpotqa_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "validate.json").write_text(json.dumps([hotpot(0) | {"answer": " "}]))
    with pytest.raises(ConfigError, match=r"line 1, field `answer` should hold an answer"):
        load_task(config("hotpotqa", tmp_path)).load("validate")


@pytest.mark.parametrize("output", ["3|4", "|".join(map(str, range(100)))])
async def test_only_the_rule_that_must_be_named_splits_an_output(
    tmp_path: Path, output: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An output is one answer; AFlow's own rule warns when it is asked for."""
    (tmp_path / "validate.jsonl").write_text('{"context": "c", "ref_text": "4|four"}\n')
    task = load_task(config("drop", tmp_path))
    assert not caplog.text
    (problem,) = task.load("validate")
    assert (await task.score(problem, output, no_code)).value == 0.0
    cheated = load_task(config("drop", tmp_path, scorer="aflow"))
    assert "lists every phrase" in caplog.text
    assert (await cheated.score(problem, output, no_code)).value == 1.0
    with pytest.raises(ConfigError, match=r"task\.options\.scorer='both': drop has the scorers f1 and aflow"):
        load_task(config("drop", tmp_path, scorer="both"))


async def test_every_gold_of_drop_scores_one_and_cheap_outputs_less_than_a_constant(shared: Path) -> None:
    """The best of the outputs that need no reading of the question does not pay."""
    task = load_task(config("drop", shared / "data" / "drop", validate=9999, test=9999))
    problems = [*task.load("validate"), *task.load("test")]
    for problem in problems:
        for gold in problem.answer.split("|"):
            assert not gold.strip() or score_alternatives(problem.answer, gold).value == 1.0
        assert score_alternatives(problem.answer, "").value == 0.0

    def mean(write: Callable[[str], str]) -> float:
        return sum(score_alternatives(p.answer, write(p.prompt)).value for p in problems) / len(problems)

    constant = max(mean(lambda _, guess=guess: guess) for guess in ("1", "2", "3", "4", "yes"))
    for cheat in (
        lambda prompt: "|".join(re.findall(r"\w+", prompt)),
        lambda prompt: " ".join(re.findall(r"\d+", prompt)),
        lambda prompt: " ".join(map(str, range(20))),
        lambda prompt: "1 2 3 4",
        lambda prompt: prompt * 50,
    ):
        assert mean(cheat) <= constant


def test_normalisation() -> None:
    assert normalise("  The U.S.A., a  Nation! ") == "usa nation"
    assert normalise("another theme") == "another theme"
    assert normalise("-3.5, $2.50, 1,000. .5") == "-3.5 2.50 1000 .5"


@given(left=TEXT, right=TEXT)
def test_f1_is_one_only_for_the_same_words(left: str, right: str) -> None:
    assert 0.0 <= f1(left, readings(right)) <= 1.0
    if normalise(left) and normalise(right):
        assert f1(left, readings(right)) == f1(right, readings(left))
        same = sorted(normalise(left).split()) == sorted(normalise(right).split())
        assert (f1(left, readings(right)) == 1.0) == same
    assert (f1(left, readings(left)) == 1.0) == bool(left.strip())


@given(golds=st.lists(TEXT, min_size=1, max_size=3), output=TEXT)
def test_alternatives_are_the_best_of_the_golds(golds: list[str], output: str) -> None:
    parts = [gold for text in golds for gold in text.split("|") if gold.strip()]
    best = max((f1(gold, readings(output)) for gold in parts), default=0.0)
    assert score_alternatives("|".join(golds), output).value == best


@pytest.mark.parametrize(
    ("gold", "output", "value"),
    [
        ("New York", "new york.", 1.0),
        ("New York", "York", 0.0),
        ("A", "", 0.0),
        ("A", "the", 0.0),
        ("A", "(a).", 1.0),
        ("A", "A B C D", 0.0),
        ("+", "-", 0.0),
        ("+", " + ", 1.0),
        (">=", "<", 0.0),
        ("-5", "5", 0.0),
        ("3.5", "35", 0.0),
        ("1/2", "12", 0.0),
        ("12:30", "1230", 0.0),
        ("C++", "C", 0.0),
        ("C++", "c++.", 1.0),
        ("A+", "A", 0.0),
        ("2005-2009", "20052009", 0.0),
        ("\u22125", "-5", 1.0),
        ("$2.50", "2.50", 1.0),
    ],
)
def test_same_text_forgives_case_and_punctuation_alone(gold: str, output: str, value: float) -> None:
    """Texts that normalise to nothing are still told apart, and so are numbers with a sign or a point."""
    assert score_same_text(gold, output).value == value


@pytest.mark.parametrize(
    ("gold", "output", "value"),
    [
        ("A", "A", 1.0),
        ("A", "", 0.0),
        ("yes", "yes no", 0.0),
        ("yes", "Yes.", 1.0),
        ("no", "yes no noanswer", 0.0),
        ("4", "4 apples", 2 / 3),
        ("4", "3 4", 0.0),
        ("4", "0 1 2 3 4 5 6 7 8 9", 0.0),
        ("3 and 4", "3 4", 0.8),
        ("-5", "5", 0.0),
        ("Paris", "Paris " * 10_000, 0.0),
    ],
)
def test_f1_of_guesses_is_nothing(gold: str, output: str, value: float) -> None:
    """No list of guesses and no output without end collects a share of many golds."""
    assert score_f1(gold, output).value == pytest.approx(value)


def write(path: Path, count: int) -> Path:
    rows = (
        {"question": f"How much is {n} + {n}?", "answer": f"It is <<{n}+{n}={2 * n}>>.\n#### {2 * n}"}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


async def test_scores_twenty_real_problems_right_and_wrong(shared: Path) -> None:
    task = load_task(config("gsm8k", shared / "data" / "gsm8k"))
    problems = task.load("validate")
    assert len(problems) == 20
    for problem in problems:
        gold = last_number(problem.answer.split("####")[1])
        assert (await task.score(problem, f"We get \\boxed{{{gold:,.0f}}}", no_code)).value == 1.0
        assert (await task.score(problem, f"We get {gold + 1}", no_code)).value == 0.0
        assert (await task.score(problem, "I do not know.", no_code)).extracted == ""


def test_every_split_of_the_folder_is_there(shared: Path) -> None:
    task = load_task(config("gsm8k", shared / "data" / "gsm8k", train=10_000, validate=10_000, test=10_000))
    splits = {split: task.load(split) for split in ("train", "validate", "test")}
    assert {split: len(problems) for split, problems in splits.items()} == {"train": 1000, "validate": 264, "test": 300}
    assert len({p.id for problems in splits.values() for p in problems}) == 1564


def test_one_file_is_split_as_aflow_does(tmp_path: Path) -> None:
    task = load_task(config("gsm8k", write(tmp_path / "all.jsonl", 1319), validate=9999, test=9999))
    validate, test = task.load("validate"), task.load("test")
    assert (len(validate), len(test)) == (264, 1055)
    assert not {p.prompt for p in validate} & {p.prompt for p in test}
    assert task.load("train") == []
    assert task.load("validate", limit=3) == validate[:3]


def test_the_partition_depends_on_its_seed_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", 50)
    first = load_task(config("gsm8k", path)).load("validate", seed=1)
    assert load_task(config("gsm8k", path)).load("validate", seed=2) == first
    assert load_task(config("gsm8k", path, split_seed=7)).load("validate", seed=1) != first


def test_no_network_is_a_config_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"openai/gsm8k.*cannot be loaded.*Set task\.path"):
        load_task(config("gsm8k")).load("validate")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"question": "1?"}', r"line 2, field `answer` is missing"),
        ('{"question": 5.5, "answer": ["#### 1"]}', r"line 2, field `answer` should be text"),
        ('{"question": "1?", "answer": "one"}', r"line 2, field `answer` has no number"),
        ('{"question": "1?", ', r"line 2 column \d+: is not JSON"),
        ("[1]", r"line 2: should be a JSON object"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "validate.jsonl").write_text('{"question": "1?", "answer": "#### 1"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"validate\.jsonl {complaint}"):
        load_task(config("gsm8k", tmp_path)).load("validate")


def test_missing_files_and_wrong_encodings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        load_task(config("gsm8k", tmp_path / "nowhere")).load("validate")
    with pytest.raises(ConfigError, match=r"needs test\.jsonl"):
        load_task(config("gsm8k", tmp_path)).load("test")
    (tmp_path / "validate.jsonl").write_bytes(b'{"question": "a", "answer": "1"}\n\xff\n')
    with pytest.raises(ConfigError, match="line 2: is not UTF-8"):
        load_task(config("gsm8k", tmp_path)).load("validate")


def test_unknown_task_and_option_are_named() -> None:
    with pytest.raises(ConfigError, match=r"task\.name='gsm9k'.*gsm8k"):
        load_task(config("gsm9k"))
    with pytest.raises(ConfigError, match=r"task\.options\.dificulty"):
        load_task(config("gsm8k", dificulty=3))
