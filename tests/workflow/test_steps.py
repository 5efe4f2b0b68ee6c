# SPDX-License-Identifier: Apache-2.0
"""The normal form: exact round trip, and refusal of everything else."""

import pytest
from hypothesis import given

from aflow_env.workflow.gate import check
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import NotNormalForm, Step, StepError, to_steps, to_workflow, usable_operators
from tests.workflow.examples import CODE_TASK, EVERY, MATH_TASK, REALISTIC, examples, step_lists


@examples
@given(step_lists())
def test_a_list_of_steps_survives_the_way_to_source_and_back(steps: tuple[Step, ...]) -> None:
    assert to_steps(to_workflow(steps, CODE_TASK)) == steps


@examples
@given(step_lists())
def test_what_the_rule_writes_passes_the_gate(steps: tuple[Step, ...]) -> None:
    check(to_workflow(steps, CODE_TASK), CODE_TASK)


@examples
@given(step_lists(), step_lists())
def test_programs_are_equal_exactly_when_their_steps_are(one: tuple[Step, ...], two: tuple[Step, ...]) -> None:
    def clean(steps: tuple[Step, ...]) -> list[Step]:
        lines = [[line.rstrip() for line in step.instruction.strip().split("\n")] for step in steps]
        return [Step(s.operator, "\n".join(text), s.samples) for s, text in zip(steps, lines, strict=True)]

    same = to_workflow(one, CODE_TASK).digest == to_workflow(two, CODE_TASK).digest
    assert same == (clean(one) == clean(two))


@pytest.mark.parametrize("name", REALISTIC)
def test_other_programs_are_not_in_normal_form(name: str) -> None:
    workflow, _ = REALISTIC[name]
    with pytest.raises(NotNormalForm):
        to_steps(workflow)


def test_layout_comments_and_spare_prompts_keep_a_program_in_normal_form() -> None:
    steps = (Step("Custom", "Solve it."), Step("ScEnsemble", samples=4))
    workflow = to_workflow(steps, MATH_TASK)
    graph = workflow.graph.replace("        answer_2", '        """vote"""\n        # now\n\n        answer_2')
    graph = graph.replace("workspace.MATH", "workspace.DROP").replace("round_1", "round_12")
    assert to_steps(Workflow(graph, workflow.prompts + 'SPARE = """x"""\n')) == steps


@pytest.mark.parametrize(
    "change",
    [
        ("range(3)", "range(2 + 1)"),
        ("return answer_2", "return answer_1"),
        ("solutions_2 = [answer_1]", "solutions_2 = [answer_1, answer_1]"),
        ("answer_2 = (await", 'extra = "x"\n        answer_2 = (await'),
        ("class Workflow:", "class Graph:"),
    ],
)
def test_a_small_change_of_the_source_is_noticed(change: tuple[str, str]) -> None:
    workflow = to_workflow((Step("Custom", "Solve it."), Step("ScEnsemble", samples=4)), MATH_TASK)
    assert change[0] in workflow.graph
    with pytest.raises(NotNormalForm):
        to_steps(Workflow(workflow.graph.replace(*change), workflow.prompts))


@pytest.mark.parametrize("graph", ["", "class Workflow: pass", "def (", "x = '\0'", "async def __call__(self): pass"])
def test_texts_that_are_no_workflow_are_refused(graph: str) -> None:
    with pytest.raises(NotNormalForm):
        to_steps(Workflow(graph, ""))


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "1 to 8 steps"),
        ((Step("Custom"),) * 9, "1 to 8 steps"),
        ((Step("Review"),), "needs an earlier answer"),
        ((Step("Custom"), Step("ScEnsemble")), "samples must be 2 to 8"),
        ((Step("Custom", samples=2),), "takes no samples"),
        ((Step("Programmer", "x"),), "takes no instruction"),
        ((Step("Custom"), Step("Format"), Step("ScEnsemble", samples=3)), "must come after"),
        ((Step("Custom"), Step("Test")), "allows only"),
        ((Step("Nonsense"),), "allows only"),
    ],
)
def test_a_bad_list_is_refused_with_its_reason(steps: tuple[Step, ...], reason: str) -> None:
    with pytest.raises(StepError, match=reason):
        to_workflow(steps, MATH_TASK)


def test_operators_that_want_an_entry_point_need_a_code_task() -> None:
    plain = TaskSpec("own", "Own", EVERY)
    assert set(EVERY) - set(usable_operators(plain)) == {"CustomCodeGenerate", "Select", "Test"}
    assert usable_operators(CODE_TASK) == EVERY
