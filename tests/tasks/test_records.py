# SPDX-License-Identifier: Apache-2.0
"""A CSV is read as the other files are: by the names of its first row, or refused by its line."""

from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.records import read_records
from tests.tasks.support import config


def test_a_csv_is_records_of_text(tmp_path: Path) -> None:
    """Byte order mark, quotes, lines within a value, and a number as it is written."""
    file = tmp_path / "test.csv"
    file.write_bytes('\ufeffquestion,answer\r\n"How many, ""all"" in\nall?",007\r\n\r\nTwo?,2.50\r\n'.encode())
    found = list(read_records(file))
    assert [record.fields for record in found] == [
        {"question": 'How many, "all" in\nall?', "answer": "007"},
        {"question": "Two?", "answer": "2.50"},
    ]
    assert found[0].place == f"{file} line 3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q,a\none", "line 2: has not one value for each name"),
        ("q,a\none,1,2", "line 2: has not one value for each name"),
        ('q,a\n"one,1', "is not CSV"),
    ],
)
def test_a_broken_csv_is_refused_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    """A value without a name would be lost, and a name without a value would be None."""
    file = tmp_path / "test.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        list(read_records(file))


def test_an_own_task_may_have_its_problems_in_a_csv(tmp_path: Path) -> None:
    """One file, or a file for each split."""
    rows = "".join(f"How many? {number},{number}\n" for number in range(5))
    for name in ("all.csv", "validate.csv", "test.csv"):
        (tmp_path / name).write_text(f"q,a\n{rows}", encoding="utf-8")
    for path, count in (("all.csv", 4), (".", 5)):
        text = f'name: t\npath: {path}\nprompt: "{{q}}"\nanswer: "{{a}}"\nscorer: number\n'
        (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
        assert len(load_task(config(str(tmp_path / "t.yaml"))).load("test")) == count
