# SPDX-License-Identifier: Apache-2.0
"""The configuration reference says everything that the schema and the YAML files say, and nothing else."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.config import AflowConfig, LLMConfig, config_directory
from recipe.site.reference import comments, entries, keys, legal, reference

CONF = config_directory()
PAGE = reference(CONF)
SECTIONS_THAT_THE_SCHEMA_EXPLAINS = {"sandbox", "reward"}


def test_every_key_of_the_schema_is_on_the_page() -> None:
    wanted = {key for key, _ in keys(AflowConfig) if not key.startswith("implementer.llm")}
    sections = set(re.findall(r"^## (\w+)", PAGE, re.MULTILINE))
    rows = set(re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE))
    assert wanted - rows <= sections, "a key without a line or a section"


def test_every_key_of_default_yaml_is_explained() -> None:
    """A new key without a word about it is found here."""
    silent = [entry.name for entry in entries(CONF / "aflow" / "default.yaml") if not entry.said]
    assert set(silent) <= SECTIONS_THAT_THE_SCHEMA_EXPLAINS


def test_every_yaml_below_conf_says_what_it_is() -> None:
    rows = dict(re.findall(r"^\| `([\w./]+\.yaml)` \| (.*) \|$", PAGE, re.MULTILINE))
    files = {str(file.relative_to(CONF)) for file in CONF.rglob("*.yaml")}
    assert rows.keys() == files
    assert not [name for name, said in rows.items() if not said.strip()]


def test_a_comment_goes_with_its_key_and_the_lines_below_it() -> None:
    text = 'a: 1  # one\n       # and more\n# about b\nb:  # two\n  c: "#3"  # three\n  d: 4\n'
    assert comments(text) == {"a": "one and more", "b": "two", "b.c": "three"}
    assert yaml.safe_load(text) == {"a": 1, "b": {"c": "#3", "d": 4}}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("rounds", "whole number at least 1, at most 1e+06"),
        ("rl_weight", "number at least 0, at most 1"),
        ("proposer", "`policy`, `guided`, `random`, `llm`"),
        ("limit", "whole number at least 1, at most 1e+06 or null"),
        ("stop.seconds", "number above 0, at most 1e+08 or null"),
        ("final_calls", "whole number at least 0, at most 1e+06 or null"),
        ("task.instructions", "list"),
        ("selection", "section"),
    ],
)
def test_types_and_ranges_are_the_schema_s(key: str, words: str) -> None:
    assert legal(dict(keys(AflowConfig))[key]) == words


@given(st.floats(-3, 3, allow_nan=False))
def test_a_range_on_the_page_is_the_range_that_is_checked(value: float) -> None:
    """temperature: `number at least 0, at most 2`."""
    assert legal(LLMConfig.model_fields["temperature"]) == "number at least 0, at most 2"
    try:
        LLMConfig(kind="simulated", temperature=value)
    except ValueError:
        assert not 0 <= value <= 2
    else:
        assert 0 <= value <= 2


def test_the_page_is_tables_that_hold_together() -> None:
    """A stray | would shift a row's cells."""
    for line in PAGE.splitlines():
        if line.startswith("| `") and "|---" not in line:
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            assert len(cells) in (2, 3, 4), line
