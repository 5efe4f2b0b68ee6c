# SPDX-License-Identifier: Apache-2.0
"""Whatever a policy or an implementer writes: an answer or an error of ours, and soon.

A third of the texts is random, the rest are valid edits, programs and replies with a few mutations. AFLOW_FUZZ_EXAMPLES
sets the number of examples of each test, e.g. AFLOW_FUZZ_EXAMPLES=50000 for 100,000 in all.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aflow_env.workflow.edits import MAX_TEXT, InvalidEdit, apply_edit, format_edit, parse_edit, uniform_edit
from aflow_env.workflow.gate import Violation, check
from aflow_env.workflow.implement import parse_change
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import NotNormalForm, Step, to_steps, to_workflow
from tests.workflow.examples import CODE_TASK, INSTRUCTIONS, REALISTIC

EXAMPLES = int(os.environ.get("AFLOW_FUZZ_EXAMPLES", "600"))
SECONDS = 2.0  # per text: two hundred times what the slowest takes on an idle machine
STEPS = (Step("Custom", "Solve it."), Step("ScEnsemble", samples=3), Step("Review"), Step("Revise"))
EDITS = [format_edit(uniform_edit(STEPS, CODE_TASK, INSTRUCTIONS, random.Random(seed))) for seed in range(20)]
PROGRAMS = [program for program, _ in REALISTIC.values()] + [to_workflow(STEPS, CODE_TASK)]
REPLIES = [
    f"<modification>m</modification>\n<graph>\n```python\n{program.graph}```\n</graph>\n<prompt>{program.prompts}</prompt>"
    for program in PROGRAMS
]
FRAGMENTS = [
    *'{}[]()<>"`\\:,.@*-+=#\n\t \0',
    *[
        "{{",
        '"operation"',
        "null",
        "NaN",
        "1e999",
        "9" * 5000,
        "\ud800",
        "\u2028",
        "é",
        "```",
        "```python\n",
        "'''",
        '"""',
    ],
    *[
        "<graph>",
        "</graph>",
        "<prompt>",
        "</prompt>",
        "lambda:",
        "not ",
        "await ",
        "yield ",
        "f'{x}'",
        "f'{",
        "\\N{",
        "0x",
    ],
    *[
        "__class__",
        "eval",
        "self.llm",
        "prompt_custom.",
        "operator.",
        "import os",
        "async ",
        "\r\n",
        "\f",
        "class Workflow:",
    ],
]


def mutate(text: str, seed: int) -> str:
    """A few changes at random places: drop, double, insert, overwrite, repeat into depth, cut off."""
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(text))
        end = min(len(text), at + rng.choice((1, 1, 3, 20, 200)))
        fragment = rng.choice(FRAGMENTS)
        many = rng.choice((1, 1, 2, 50, 2000))
        middle = rng.choice(("", text[at:end] * min(many, 30), fragment, fragment * many, text[at:end] + fragment))
        text = text[:at] + middle + text[rng.choice((at, end, end)) :]
        if rng.random() < 0.05:
            text = text[:at]
    return text


def texts(bases: list[str]) -> st.SearchStrategy[str]:
    mutated = st.builds(mutate, st.sampled_from(bases), st.integers(0, 2**64))
    noise = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join) | st.text(max_size=300)
    return mutated | mutated | noise


def timed(action: Callable[[], None]) -> None:
    start = time.process_time()
    action()
    assert time.process_time() - start < SECONDS


fuzz = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@fuzz
@given(texts(EDITS))
def test_no_text_breaks_the_edit(text: str) -> None:
    def run() -> None:
        with contextlib.suppress(InvalidEdit):
            edit = parse_edit(text)
            assert parse_edit(format_edit(edit)) == edit
            to_workflow(apply_edit(STEPS, edit, CODE_TASK), CODE_TASK).digest.encode()

    timed(run)


@pytest.mark.filterwarnings("ignore")  # mutated strings have odd escapes
@fuzz
@given(texts(REPLIES))
def test_no_text_breaks_the_program(text: str) -> None:
    def run() -> None:
        with contextlib.suppress(InvalidEdit):
            try_program(parse_change(text, CODE_TASK).workflow)
        try_program(Workflow(text, text))

    timed(run)


def try_program(program: Workflow) -> None:
    assert len(program.digest) == 16
    with contextlib.suppress(NotNormalForm):
        to_steps(program)
    for _, task in REALISTIC.values():
        with contextlib.suppress(Violation):
            check(program, task)
            compile(program.graph, "graph.py", "exec")


def test_reading_an_edit_takes_linear_time() -> None:
    """The worst shapes at the size cap, each read in a moment."""
    for piece in (
        "{",
        '{"',
        '{"a":',
        '{"a":{',
        "{[",
        '{"\\',
        '{"a":"',
        "{}",
        '{"a":1}',
        "}{",
        '\\"{',
        '{"operation": 1,',
    ):
        text = (piece * MAX_TEXT)[:MAX_TEXT]
        start = time.process_time()
        with contextlib.suppress(InvalidEdit):
            parse_edit(text)
        assert time.process_time() - start < 0.5, piece
