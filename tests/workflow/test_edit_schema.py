# SPDX-License-Identifier: Apache-2.0
"""The schema of edits allows every edit that fits and no other."""

import json
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.workflow.edit_schema import edit_schema
from aflow_env.workflow.edits import NoChange, apply_edit, every_edit, format_edit, parse_edit, uniform_edit
from aflow_env.workflow.steps import Step

jsonschema = pytest.importorskip("jsonschema", reason="a validator of JSON schemas")
SPEC = Arithmetic.spec
PHRASES = ("Think.", "Be brief.")
START = (Step("Custom", "Answer."),)


def grown(seed: int, edits: int) -> tuple[Step, ...]:
    """What so many random edits of the start come to."""
    rng, steps = Random(seed), START
    for _ in range(edits):
        steps = apply_edit(steps, uniform_edit(steps, SPEC, PHRASES, rng), SPEC)
    return steps


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_every_valid_edit_is_allowed(seed: int, edits: int) -> None:
    """In the canonical form in which a trained policy writes it."""
    steps = grown(seed, edits)
    validator = jsonschema.Draft202012Validator(edit_schema(steps, SPEC))
    for edit in every_edit(steps, SPEC, PHRASES):
        validator.validate(json.loads(format_edit(edit)))


@pytest.mark.parametrize(
    "text",
    [
        '{"operation": "add", "operator": "Review", "position": 1}',
        '{"operation": "add", "operator": "Nobody", "position": 2}',
        '{"operation": "add", "operator": "Review", "position": 7}',
        '{"operation": "remove", "position": 1}',
        '{"operation": "reorder", "position": 1, "parameters": {"to": 1}}',
        '{"operation": "set_prompt", "position": 1}',
        '{"operation": "add", "operator": "Review", "position": 2, "parameters": {"instruction": "x"}}',
        '{"operation": "add", "operator": "Review", "position": 2, "why": ""}',
        '{"operator": "Review", "position": 2}',
    ],
)
def test_what_does_not_fit_is_not_allowed(text: str) -> None:
    """Of one step, by a place, an operator, a parameter or a name."""
    assert not jsonschema.Draft202012Validator(edit_schema(START, SPEC)).is_valid(json.loads(text))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_whatever_the_schema_allows_fits(seed: int, edits: int) -> None:
    """Each alternative, at each of its positions; only an edit that changes nothing may be left."""
    steps = grown(seed, edits)
    for alternative in edit_schema(steps, SPEC)["anyOf"]:
        properties = alternative["properties"]
        given_ = {
            name: {"instruction": "New words."}.get(name) or held.get("const") or held["enum"][0]
            for name, held in properties.get("parameters", {"properties": {}})["properties"].items()
        }
        for position in properties["position"]["enum"]:
            said = {name: held["const"] for name, held in properties.items() if "const" in held}
            edit = parse_edit(json.dumps({**said, "position": position, "parameters": given_}))
            with suppress(NoChange):
                apply_edit(steps, edit, SPEC)
