# SPDX-License-Identifier: Apache-2.0
"""GSM8K: the files as they are published, AFlow's split and scorer."""

import json
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.scorers import last_number
from tests.tasks.support import config, no_code


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
