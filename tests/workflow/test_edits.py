# SPDX-License-Identifier: Apache-2.0
"""Edits: read from anything, written short, applied exactly, drawn uniformly."""

import json
import random
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.workflow.edits import (
    MAX_INSTRUCTION,
    MAX_TEXT,
    OPERATIONS,
    Edit,
    EditParameters,
    InvalidEdit,
    NoChange,
    apply_edit,
    describe,
    edit_grammar,
    edit_schema,
    every_edit,
    format_edit,
    parse_edit,
    uniform_edit,
)
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import Step, to_steps, to_workflow
from tests.workflow.examples import ANY_TEXT, CODE_TASK, EVERY, INSTRUCTIONS, MATH_TASK, examples, step_lists

EDITS = st.builds(
    Edit,
    operation=st.sampled_from(OPERATIONS),
    operator=st.none() | st.sampled_from(EVERY),
    position=st.integers(-1, 10),
    parameters=st.builds(
        EditParameters,
        instruction=st.none() | ANY_TEXT,
        samples=st.none() | st.integers(2, 8),
        to=st.none() | st.integers(0, 9),
    ),
    reason=ANY_TEXT,
)
START = (Step("Custom", "Solve it."), Step("Review"), Step("Revise"))


def edit(text: str) -> Edit:
    return parse_edit("{" + text + "}")


@examples
@given(EDITS)
def test_an_edit_survives_its_json(value: Edit) -> None:
    line = format_edit(value)
    assert "\n" not in line
    assert parse_edit(line) == value


def test_the_json_is_short_and_in_order() -> None:
    value = Edit(
        operation="add", operator="ScEnsemble", position=2, parameters=EditParameters(samples=3), reason="vote"
    )
    expected = (
        '{"operation": "add", "operator": "ScEnsemble", "position": 2, "parameters": {"samples": 3}, "reason": "vote"}'
    )
    assert format_edit(value) == expected
    assert format_edit(Edit(operation="remove", position=1)) == '{"operation": "remove", "position": 1}'


@pytest.mark.parametrize(
    "text",
    [
        '{"operation": "remove", "position": 2}',
        'I would drop it.\n```json\n{"operation": "remove", "position": 2}\n```\nDone.',
        'The score is {low}, see {"a": 1} and {"a": {"b": 2}}: {"operation": "remove", "position": 2}',
        '{ {"operation": "remove", "position": 2} }',
        '{"operation": "remove", "operator": null, "position": 2, "parameters": null, "reason": null}',
        '{"operation": "remove", "position": 2}{"operation": "remove", "position": 3}',
        '{"operation": "remove", \n "position": 2, "reason": ""}',
    ],
)
def test_an_edit_is_found_in_free_text(text: str) -> None:
    assert parse_edit(text) == Edit(operation="remove", position=2)


@pytest.mark.parametrize(
    "thinking",
    [
        '<think>One could {"operation": "remove", "position": 1}, but no.</think>',
        'I could {"operation": "remove", "position": 1}.</think>',
        "<think>" + "x" * MAX_TEXT + "</think>",
    ],
)
def test_thinking_is_no_edit(thinking: str) -> None:
    """An edit that was only considered is not taken, and thinking does not count against the length of a reply."""
    assert parse_edit(thinking + ' {"operation": "set_prompt", "position": 2}').operation == "set_prompt"


def test_thinking_without_end_holds_no_edit() -> None:
    with pytest.raises(InvalidEdit, match="no JSON object"):
        parse_edit('<think>Maybe {"operation": "remove", "position": 1}')


def test_a_raw_line_break_in_a_string_is_read() -> None:
    found = edit('"operation": "set_prompt", "position": 1, "parameters": {"instruction": "one\ntwo"}')
    assert found.parameters.instruction == "one\ntwo"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("remove step 2", "no JSON object"),
        ('{"operation": "remove", "position": 2', "no JSON object"),
        ('{"operation": "delete", "position": 2}', "operation"),
        ('{"operation": "remove"}', "position"),
        ('{"operation": "remove", "position": "2"}', "position"),
        ('{"operation": "remove", "position": true}', "position"),
        ('{"operation": "remove", "position": 1.5}', "position"),
        ('{"operation": "remove", "position": 2, "why": 1}', "why"),
        ('{"operation": "add", "position": 2, "parameters": {"samples": 9}}', "samples"),
        ('{"operation": "add", "position": 2, "parameters": [1]}', "parameters"),
        ('{"operation": "add", "position": 2, "reason": "\\ud800"}', "reason"),
        ('{"operation": "add", "position": 2, "reason": "' + "x" * 301 + '"}', "reason"),
        ('{"operation": "add", "position": 2, "parameters": {"instruction": "' + "x" * 601 + '"}}', "instruction"),
        ('{"operation": "remove", "position": ' + "9" * 5000 + "}", "no JSON object"),
        ('{"operation": ' * 1300, "no JSON object"),
        ("x" * (MAX_TEXT + 1), "longer than"),
    ],
)
def test_what_is_no_edit_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidEdit, match=reason) as caught:
        parse_edit(text)
    assert 0 < len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ('"operation": "add", "operator": "ScEnsemble", "position": 2', ["Custom", "ScEnsemble", "Review", "Revise"]),
        ('"operation": "add", "operator": "Format", "position": 4', ["Custom", "Review", "Revise", "Format"]),
        ('"operation": "add", "operator": "Programmer", "position": 1', ["Programmer", "Custom", "Review", "Revise"]),
        ('"operation": "remove", "position": 2', ["Custom", "Revise"]),
        ('"operation": "remove", "operator": "Review", "position": 2', ["Custom", "Revise"]),
        ('"operation": "replace", "operator": "Format", "position": 3', ["Custom", "Review", "Format"]),
        ('"operation": "reorder", "position": 2, "parameters": {"to": 3}', ["Custom", "Revise", "Review"]),
        ('"operation": "reorder", "position": 3, "parameters": {"to": 2}', ["Custom", "Revise", "Review"]),
    ],
)
def test_each_operation_does_what_it_says(text: str, after: list[str]) -> None:
    assert [step.operator for step in apply_edit(START, edit(text), MATH_TASK)] == after


def test_parameters_reach_the_step() -> None:
    changed = apply_edit(
        START, edit('"operation": "set_prompt", "position": 1, "parameters": {"instruction": "Think."}'), MATH_TASK
    )
    assert changed == (Step("Custom", "Think."), *START[1:])
    added = apply_edit(
        START,
        edit('"operation": "add", "operator": "ScEnsemble", "position": 2, "parameters": {"samples": 5}'),
        MATH_TASK,
    )
    assert added[1] == Step("ScEnsemble", samples=5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"operation": "add", "operator": "Custom", "position": 5', "position must be 1 to 4"),
        ('"operation": "remove", "position": 4', "position must be 1 to 3"),
        ('"operation": "remove", "position": 0', "position must be 1 to 3"),
        ('"operation": "add", "position": 1', "operator is missing"),
        ('"operation": "add", "operator": "Test", "position": 2', "'Test' is not allowed"),
        ('"operation": "add", "operator": "Oracle", "position": 2', "'Oracle' is not allowed"),
        ('"operation": "remove", "position": 1', "needs an earlier answer"),
        ('"operation": "remove", "operator": "Custom", "position": 2', "step 2 is Review, not 'Custom'"),
        ('"operation": "reorder", "position": 1', "parameters.to must be 1 to 3"),
        ('"operation": "reorder", "position": 1, "parameters": {"to": 1}', "changes nothing"),
        ('"operation": "set_prompt", "position": 1', "needs parameters.instruction"),
        ('"operation": "set_prompt", "position": 2, "parameters": {"instruction": "x"}', "takes no instruction"),
        ('"operation": "set_prompt", "position": 1, "parameters": {"instruction": "Solve it."}', "changes nothing"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidEdit, match=reason):
        apply_edit(START, edit(text), MATH_TASK)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (
            '"operation": "remove", "position": 3, "parameters": {"samples": 3, "to": 1}',
            '"operation": "remove", "position": 3',
        ),
        (
            '"operation": "add", "operator": "Review", "position": 2, "parameters": {"samples": 3, "instruction": "x"}',
            '"operation": "add", "operator": "Review", "position": 2',
        ),
        (
            '"operation": "add", "operator": "Custom", "position": 2, "parameters": {"samples": 2, "instruction": "x"}',
            '"operation": "add", "operator": "Custom", "position": 2, "parameters": {"instruction": "x"}',
        ),
    ],
)
def test_a_parameter_that_nothing_reads_is_ignored(text: str, plain: str) -> None:
    assert apply_edit(START, edit(text), MATH_TASK) == apply_edit(START, edit(plain), MATH_TASK)
    assert describe(edit(text)) == describe(edit(plain))


@examples
@given(step_lists(), EDITS)
def test_an_edit_makes_a_different_valid_workflow_or_is_invalid(steps: tuple[Step, ...], value: Edit) -> None:
    try:
        after = apply_edit(steps, value, CODE_TASK)
    except InvalidEdit:
        return
    assert after != steps
    assert to_steps(to_workflow(after, CODE_TASK)) == after


@examples
@given(step_lists(), st.integers(0, 2**32), st.sampled_from([(), INSTRUCTIONS]))
def test_a_drawn_edit_always_fits(steps: tuple[Step, ...], seed: int, phrases: tuple[str, ...]) -> None:
    drawn = uniform_edit(steps, CODE_TASK, phrases, random.Random(seed))
    assert apply_edit(steps, drawn, CODE_TASK) != steps
    assert len(format_edit(drawn)) < 140
    assert uniform_edit(steps, CODE_TASK, phrases, random.Random(seed)) == drawn


def test_draws_are_uniform_at_every_level() -> None:
    """Operations a fifth each; under `add`, operators alike although some fit at fewer positions."""
    steps = (Step("Custom", "Solve it."), Step("Custom", "Again."))
    rng = random.Random(7)
    drawn = [uniform_edit(steps, MATH_TASK, INSTRUCTIONS, rng) for _ in range(5000)]
    operations = Counter(value.operation for value in drawn)
    assert all(abs(operations[name] / 5000 - 1 / 5) < 0.03 for name in OPERATIONS)
    operators = Counter(value.operator for value in drawn if value.operation == "add")
    assert set(operators) == set(MATH_TASK.operators)
    assert all(abs(count / operations["add"] - 1 / 6) < 0.04 for count in operators.values())
    samples = Counter(v.parameters.samples for v in drawn if v.operator == "ScEnsemble")
    assert set(samples) == set(range(2, 9))
    assert {v.parameters.instruction for v in drawn if v.operation == "set_prompt"} == set(INSTRUCTIONS)


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="no edit"):
        uniform_edit((Step("Custom"),) * 1, TaskSpec("own", "Own", ()), (), random.Random(0))


@pytest.mark.parametrize("task", [MATH_TASK, CODE_TASK])
def test_the_grammar_is_short_and_says_what_is_checked(task: TaskSpec) -> None:
    text = edit_grammar(task)
    assert len(text.split()) < 200
    assert all(name in text for name in (*OPERATIONS, *task.operators, str(MAX_INSTRUCTION), "1 to 8"))
    assert ("CustomCodeGenerate" in text) == task.entry_point


def test_an_edit_is_described_as_a_modification() -> None:
    value = edit(
        '"operation": "add", "operator": "ScEnsemble", "position": 2, "parameters": {"samples": 3}, "reason": "Wavers."'
    )
    assert describe(value) == "Add ScEnsemble as step 2 with 3 samples. Wavers."
    value = edit('"operation": "set_prompt", "position": 1, "parameters": {"instruction": "Say \\"why\\"."}')
    assert describe(value) == 'Set the prompt of step 1, instruction "Say \\"why\\".".'
    assert (
        describe(edit('"operation": "reorder", "position": 3, "parameters": {"to": 1}')) == "Move step 3 to position 1."
    )


SPEC = Arithmetic.spec
PHRASES = ("Think.", "Be brief.")
ONE_STEP = (Step("Custom", "Answer."),)


def validator(steps: tuple[Step, ...]) -> Any:
    """A validator of the edits that fit these steps."""
    jsonschema = pytest.importorskip("jsonschema", reason="a validator of JSON schemas")
    return jsonschema.Draft202012Validator(edit_schema(steps, SPEC))


def grown(seed: int, edits: int) -> tuple[Step, ...]:
    """What so many random edits of the start come to."""
    rng, steps = Random(seed), ONE_STEP
    for _ in range(edits):
        steps = apply_edit(steps, uniform_edit(steps, SPEC, PHRASES, rng), SPEC)
    return steps


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_every_valid_edit_is_allowed(seed: int, edits: int) -> None:
    """In the canonical form in which a trained policy writes it."""
    steps = grown(seed, edits)
    fits = validator(steps)
    for edit in every_edit(steps, SPEC, PHRASES):
        fits.validate(json.loads(format_edit(edit)))


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
    assert not validator(ONE_STEP).is_valid(json.loads(text))


@settings(max_examples=20)
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
