# SPDX-License-Identifier: Apache-2.0
"""Each text in docs/faq.md is one that the program says: it fits a string of the source, holes filled."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs.pages import DOCS, blocks

TEXTS = [block.text for block in blocks("faq.md") if block.language == "text"]
ENOUGH = 18
"""Characters of a string that are the program's own: shorter ones fit anything."""
MOST = 0.3
"""Share of a text that one string must account for."""


@cache
def patterns() -> tuple[re.Pattern[str], ...]:
    """The strings of the package as patterns, a hole for each {expression}."""
    found = set()
    for file in sorted((DOCS.parent / "aflow_env").rglob("*.py")):
        found |= set(_strings(ast.parse(file.read_text(encoding="utf-8"))))
    return tuple(re.compile(pattern) for pattern in found)


def _strings(tree: ast.Module) -> Iterator[str]:
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            parts = [node.value]
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values]
        else:
            continue
        if sum(len(part.strip()) for part in parts) >= ENOUGH:
            yield "".join(_pattern(part) for part in parts)


def _pattern(part: str) -> str:
    """A piece of a string with any white space for each blank; a hole for the empty piece."""
    return r"\s+".join(map(re.escape, re.split(r"\s+", part))) if part else ".+?"


def covered(text: str) -> float:
    """The largest share of the text that one string of the source accounts for."""
    plain = " ".join(text.split()) + " "
    found = (pattern.search(plain) for pattern in patterns())
    return max((len(match[0]) / len(plain) for match in found if match), default=0.0)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.split(": ", 1)[-1][:40])
def test_the_program_says_this(text: str) -> None:
    if text.startswith("aflow-env: rl_weight=2"):
        assert "input should be less than or equal to" in text  # pydantic's words
    else:
        assert covered(text) > MOST, "no string of aflow_env fits this text"


def test_a_text_that_nobody_says_is_found() -> None:
    assert covered("aflow-env: the moon is in the way of rl_weight=0.5: wait for the next one.") < MOST
    assert covered(TEXTS[2].replace("serve a checkpoint", "find a checkpoint")) < MOST
