# SPDX-License-Identifier: Apache-2.0
"""The text of a state: failed cases with the scorer's text and the steps, cut in a fixed order."""

from aflow_env.search.proposals.proposal import FailedCase, State, render_state
from aflow_env.store.experience import Entry
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import Step, to_workflow

SPEC = TaskSpec("sums", "SUMS", ("Custom", "ScEnsemble"))
CASES = tuple(
    FailedCase(f"problem {n}", f"gold {n}", f"answer {n}", f"text {n}", f"1. Custom: first {n}\n2. Custom: second {n}")
    for n in (1, 2)
)
STATE = State(to_workflow([Step("Custom", "Answer.")], SPEC), SPEC, 0.5, 4, (Entry("change", 0.5, 0.6),), CASES)


def test_a_failed_case_says_why_and_how() -> None:
    """The proposer reads gold, answer, the scorer's text, and each step with the start of its output."""
    text = render_state(STATE, 10_000)
    assert text.endswith(
        "Failed: problem 2\nexpected: gold 2\nanswer: answer 2\nfeedback: text 2\nsteps:\n"
        "1. Custom: first 2\n2. Custom: second 2\n"
    )


def test_a_case_without_text_and_steps_has_no_line_for_them() -> None:
    """A scorer need not say anything."""
    state = State(STATE.workflow, SPEC, 0.5, 4, failures=(FailedCase("p", "g", "a"),))
    assert render_state(state, 10_000).endswith("Failed: p\nexpected: g\nanswer: a\n")


def test_a_state_that_is_too_long_loses_steps_then_cases_then_experience() -> None:
    """The order is fixed, each text fits, and what stays is whole."""
    whole = len(render_state(STATE, 10_000))
    texts = [render_state(STATE, characters) for characters in range(whole, 0, -1)]
    assert all(len(text) <= whole - shorter for shorter, text in enumerate(texts))
    kept = [
        tuple(text.count(word) for word in ("Failed: problem", "steps:", "feedback: text", "Tried from here"))
        for text in texts
    ]
    order = [(2, 2, 2, 1), (2, 0, 2, 1), (1, 1, 1, 1), (1, 0, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0)]
    assert list(dict.fromkeys(kept)) in (order, [each for each in order if each != (1, 1, 1, 1)])
