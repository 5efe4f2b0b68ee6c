# SPDX-License-Identifier: Apache-2.0
"""Replies as models really write them: each has a defined reading."""

import ast
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.workflow.parsing import (
    extract_code,
    fields,
    letter_index,
    strip_fence,
    strip_thinking,
)
from tests.workflow.examples import examples

PIECES = st.sampled_from(
    [
        *("<answer>", "</answer>", "<thought>", "</thought>", "<think>", "</think>", "```", "```python\n", "~~~", "<"),
        *("\n", "\r\n", "A", " ", "\t", "def f(", '"""', '{"answer": ', "}", "[", "1", '"', "\\", "- "),
    ]
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


ADD = "def add(a, b):\n    return a + b"
QUOTED = 'def add(a, b):\n    """Sum.\nOf two."""\n    return a + b'
IMPORTS = "from __future__ import annotations\nimport math"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("1. The function:\n\n   ```python\n   def add(a, b):\n       return a + b\n   ```\n", ADD),
        ("- ```py\n  def add(a, b):\n      return a + b\n  ```", ADD),
        ("\t```python\n\tdef add(a, b):\n\t    return a + b\n\t```", ADD),
        ("```python\n    def add(a, b):\n        return a + b\n```", ADD),
        ("```python\ndef add(a, b):\n\treturn a + b\n```", "def add(a, b):\n\treturn a + b"),
        (f"Sure, here it is: ```python\n{ADD}\n```", ADD),
        (f"```python\n{ADD}```", ADD),
        (f"{ADD}\n```", ADD),
        (f"{ADD}\n~~~\nIt adds.", ADD),
        (f"~~~python\n{ADD}\n~~~", ADD),
        (f"```python\n{ADD}", ADD),
        (f"Here is the function:\n\n{ADD}\n\nIt adds.", ADD),
        (f"Here:\n\n{IMPORTS}\n\n{ADD}\n\nIt adds.", f"{IMPORTS}\n\n{ADD}"),
        (f"First\nimport math\nand then\n{ADD}\nHope this helps!", f"import math\n\n{ADD}"),
        (f"Here:\n{QUOTED}\nDone, it adds.", QUOTED),
        (f"\ufeff```python\n\ufeff{ADD}\n```", ADD),
        (f"```python\n{ADD}\n```".replace("\n", "\r\n"), ADD),
        ("```python\nadd = lambda a, b: a + b\n```\n```\nprint(add(1, 2), add(3, 4), add(5, 6))\n```",
         "add = lambda a, b: a + b"),
        (f"```\ndef add(a, b): return 0\n```\n```\n{ADD}\n```\n```\ndef add(", ADD),
        (f"```\n{ADD}\n```\n<code>no code</code>", ADD),
        ("<code>\ndef add(a, b): return 1\n</code>\n```\ndef add(a, b): return 2\n```", "def add(a, b): return 1"),
        ("    return a + b", "    return a + b"),
        ("```python\n    return a + b\n```", "    return a + b"),
    ],
)  # fmt: skip
def test_code_is_found_however_it_is_wrapped(reply: str, code: str) -> None:
    """The last complete definition counts, fenced or not, and nothing of the prose around it."""
    found = extract_code(reply, "add")
    assert found.strip("\n") == code
    if "def add" in code:
        compile(found, "reply", "exec")


@pytest.mark.parametrize(
    "wrap", ["{}", "Here it is:\n\n{}\n\nIt works as follows.", "1. So:\n\n   ```python\n{}\n   ```"]
)
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_reference_solutions_are_found_whole(shared: Path, wrap: str) -> None:
    """Every reference solution of MBPP is found, bare or in prose, with the constants and imports before it."""
    for split in ("validate", "test"):
        for line in (shared / "data" / "mbpp" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            code = json.loads(line)["code"].replace("\r\n", "\n").strip("\n")
            names = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
            found = extract_code(wrap.format(code), names[-1])
            assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(code)), code


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("<think>a</think>b", "b"),
        ("<THINKING>\na</thinking>\n b", "b"),
        ("a</think>b", "b"),
        ("<think>a <think> b</think> c </think>d", "d"),
        ("x <think>a</think> b <think>c</think> d", "x  b  d"),
        ("a <think>b", "a"),
        ("<think>b", ""),
        ("no thinking", "no thinking"),
    ],
)
def test_thinking_is_cut(reply: str, rest: str) -> None:
    """Nothing that a model thought is read as its answer, whether its tags are whole or not."""
    assert strip_thinking(reply) == rest


@pytest.mark.parametrize(
    "reply",
    [
        '```json\n{"thought": "t", "answer": "Paris"}\n```',
        'Here you are:\n```json\n{"answer": "Paris"}\n```\nGood luck.',
        'Sure! {"answer": "Paris", "confidence": 0.9} There.',
        '{"thought": "a\nb", "answer": "Paris"}',
        '{"reply": {"thought": "t", "answer": "Paris"}}',
        '[{"Answer": "Paris"}]',
        '{"answer": "Rome"} no: {"answer": "Paris"}',
        '{"thought": "x \\\\sqrt{2} \\sqrt{2}", "answer": "Paris"}',
        '{"answer": {"a": 1}} <answer>Paris</answer>',
    ],
)
def test_json_is_found_however_it_is_wrapped(reply: str) -> None:
    """One JSON object with the field is enough: fenced, in prose, nested, with other keys, or with raw line breaks."""
    assert fields(reply, "thought", "answer")["answer"] == "Paris"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5"), ("2.5", "2.5"), ("true", "True"), ('[1, "a"]', '[1, "a"]'), ('" 5 "', "5"),
        (r'"\frac{1}{2}"', r"\frac{1}{2}"), (r'"\boxed{\text{a}}"', r"\boxed{\text{a}}"), (r'"\sqrt{2}"', r"\sqrt{2}"),
        (r'"a\tb\nc"', "a\tb\nc"), (r'"\\frac12"', r"\frac12"), (r'"3 \times 4"', r"3 \times 4"),
    ],
)  # fmt: skip
def test_values_of_json_become_the_text_that_was_meant(value: str, text: str) -> None:
    """Numbers and truth values are texts, and LaTeX survives a model that forgot to double its backslashes."""
    assert fields('{"answer": ' + value + "}", "answer") == {"answer": text}


def test_a_null_is_no_field() -> None:
    assert fields('{"thought": null, "answer": "x"}', "thought", "answer") == {"answer": "x"}


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
    assert len(extract_code(text, "f")) <= len(text)
    assert isinstance(strip_fence(text), str)
    assert len(strip_thinking(text)) <= len(text)
    index = letter_index(text, 3)
    assert index is None or 0 <= index < 3


REPEATED = ("<think>", "</think>", "<answer>", "{", '{"a": ', '{"answer": "', "```\n", "- ```py\n", "import a\n")


@pytest.mark.parametrize("piece", [*REPEATED, '"""\n', "\\", "\t", "@a", "a" * 50])
def test_reading_takes_linear_time(piece: str) -> None:
    """A reply of 200,000 characters is read in well under a second, whatever it repeats."""
    text = piece * (200_000 // len(piece))
    begin = time.process_time()
    strip_thinking(text)
    fields(text, "thought", "answer")
    extract_code(text, "f")
    letter_index(text, 3)
    assert time.process_time() - begin < 1.5
