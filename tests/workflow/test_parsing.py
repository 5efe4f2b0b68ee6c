# SPDX-License-Identifier: Apache-2.0
"""Replies as models really write them: each has a defined reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.workflow.parsing import extract_code, fenced_blocks, fields, letter_index, strip_fence
from tests.workflow.examples import examples

PIECES = st.sampled_from(
    ["<answer>", "</answer>", "<thought>", "</thought>", "```", "```python\n", "\n", "A", " ", "def f(", "<", "~~~"]
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<thought>a</thought><answer>b</answer>", {"thought": "a", "answer": "b"}),
        ("<thought>a <answer>b", {"thought": "a", "answer": "b"}),
        ("<thought>a</thought> <answer>b</thought>", {"thought": "a", "answer": "b"}),
        ("I write it in <answer> tags. <answer>\n5\n</answer>", {"answer": "5"}),
        ("<answer>4</answer> no, <answer>5</answer>", {"answer": "5"}),
        ("<answer>4</answer> or <answer>5", {"answer": "4"}),
        ("<ANSWER >x</Answer>", {"answer": "x"}),
        ("<answer></answer>", {"answer": ""}),
        ("answer: 5", {}),
        ("", {}),
        ("</answer>5", {}),
    ],
)
def test_fields(text: str, found: dict[str, str]) -> None:
    assert fields(text, "thought", "answer") == found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ""),
        ("<code></code>", ""),
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nGood luck.", "x = 1"),
        ("```\nx = 1", "x = 1"),
        ("<code>x = 1</code>", "x = 1"),
        ("<code>\n```py\nx = 1\n```\n</code> words", "x = 1"),
        ("```\nshort\n```\n```\nmuch longer\n```", "much longer"),
        (
            "```\ndef solve(): return 1\n```\nlike\n```\n# an example of its use, which is longer\n```",
            "def solve(): return 1",
        ),
        ("```\ndef solve(): 1\n```\nbetter\n```\ndef solve(): 2\n```", "def solve(): 2"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''"),
        ("~~~\nx = 1\n~~~", "x = 1"),
    ],
)
def test_extract_code(text: str, code: str) -> None:
    assert extract_code(text, "solve") == code


def test_a_fence_inside_a_fence_stays() -> None:
    text = '```python\nP = """\n```\ncode\n```\n"""\n```'
    assert strip_fence(text) == 'P = """\n```\ncode\n```\n"""'
    assert strip_fence("no fence ```x```") == "no fence ```x```"


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("<solution_letter>B</solution_letter>", 1),
        ("<solution_letter> b. </solution_letter>", 1),
        ("<solution_letter>Solution (C)</solution_letter>", 2),
        ("<solution_letter>B because A is wrong</solution_letter>", None),
        ("The best is B.", 1),
        ("I choose **C**", 2),
        ("<solution_letter>D</solution_letter>", None),
        ("<solution_letter>2</solution_letter>", None),
        ("a good answer", None),
        ("", None),
    ],
)
def test_letter_index(text: str, index: int | None) -> None:
    assert letter_index(text, 3) == index


@examples
@given(st.lists(PIECES, max_size=40).map("".join) | st.text())
def test_any_text_has_a_reading(text: str) -> None:
    assert all(isinstance(value, str) for value in fields(text, "thought", "answer", "code").values())
    assert isinstance(extract_code(text, "f"), str)
    assert isinstance(strip_fence(text), str)
    assert sum(map(len, fenced_blocks(text))) <= len(text)
    index = letter_index(text, 3)
    assert index is None or 0 <= index < 3
