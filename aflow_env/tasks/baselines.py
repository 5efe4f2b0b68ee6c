# SPDX-License-Identifier: Apache-2.0
"""Manual workflows: the start of a search, and its baselines, which follow the ideas of papers, not their prompts.

The start is a folder's workflow, or by default the plain question, as AFlow's round 1.

IO asks once. CoT asks to think first (Wei et al. 2022). CoT-SC draws SAMPLES such answers, the first at the executor's
`temperature` and the others at its `sample_temperature`, and takes the most frequent (Wang et al. 2022). Code has no
short answer to count, so there ScEnsemble takes one. Select draws up to SAMPLES programs until one passes the public
tests. Program answers with the output of a program, for mathematics (PoT, Chen et al. 2022). Self-refine reviews and
rewrites its answer up to REFINEMENTS times (Madaan et al. 2023). In MultiPersona, PERSONAS answer, read each other and
answer again, and a judge concludes (after Wang et al. 2024 and Liang et al. 2023).
"""

from dataclasses import dataclass, replace
from pathlib import Path

from aflow_env.errors import ConfigError, WorkflowError
from aflow_env.workflow.aflow.aflow_workspace import read_workflow
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import Step, StepError, to_workflow, write_program

SAMPLES = 5
REFINEMENTS = 2
PERSONAS = {
    "EXPERT": "You are a careful expert in the field of the problem.",
    "SCEPTIC": "You are a sceptic who looks for traps and checks each claim.",
    "TEACHER": "You are a teacher who explains each step from the ground up.",
}


def start_steps(spec: TaskSpec) -> tuple[Step, ...]:
    """Return one Custom step (CustomCodeGenerate for code tasks) with the task's start instruction, usually empty."""
    writes = spec.entry_point and "CustomCodeGenerate" in spec.operators
    return (Step("CustomCodeGenerate" if writes else "Custom", spec.start),)


def start_workflow(where: str, spec: TaskSpec) -> Workflow:
    """Return the task's start workflow for `default`, else the workflow of the folder `where`. Raises ConfigError."""
    if where == "default":
        try:
            return to_workflow(start_steps(spec), spec)
        except StepError as error:
            raise ConfigError(
                f"problems.start=default would not be run: {error}. Allow its operator too (operators of the task's "
                "YAML, or task.options.operators), or name a folder of your own in problems.start"
            ) from error
    folder = Path(where)
    if not (folder / "graph.py").is_file():
        raise ConfigError(f"problems.start={where}: that folder has no graph.py; name a workflow folder or `default`")
    workflow = read_workflow(folder)
    try:
        check(workflow, spec)
    except WorkflowError as error:
        raise ConfigError(f"problems.start={where} would not be run: {error}") from error
    return workflow


@dataclass(frozen=True)
class _Kind:
    """Prompts of one kind of task. `call` is an operator call with {text} and {prompt}, `last` the last statement."""

    direct: str
    reason: str
    call: str
    last: str = ""
    operators: tuple[str, ...] = ("Custom",)


_CUSTOM = '(await self.custom(input={text}, instruction={prompt}))["response"]'
_CODE = '(await self.custom_code_generate(problem={text}, entry_point=entry_point, instruction={prompt}))["response"]'
_BOXED = "put the final answer in \\boxed{} at the end"
_MATHEMATICS = _Kind(f"Solve the problem: {_BOXED}.", f"Think step by step, then {_BOXED}.", _CUSTOM)
_SHORT = _Kind(
    "Answer the question with the answer only.",
    "Think step by step, then give the answer in as few words as possible.",
    _CUSTOM,
    'answer = (await self.format(problem=problem, solution=answer))["solution"]',
    ("Custom", "Format"),
)
_PROGRAM = _Kind(
    "Write the function, without explanation.",
    "Think step by step about the requirements and edge cases, then write the function.",
    _CODE,
    operators=("CustomCodeGenerate",),
)


def baselines(task: TaskSpec) -> dict[str, Workflow]:
    """Return the workflows by name, the plainest first. They may use operators that a search may not."""
    kind = _PROGRAM if task.entry_point else _MATHEMATICS if "Programmer" in task.operators else _SHORT
    anything = replace(task, operators=tuple(SIGNATURES))
    ask = kind.operators[0]
    shorten = (Step("Format"),) if kind is _SHORT else ()
    plain, reasoned = Step(ask, kind.direct), Step(ask, kind.reason)
    counted = Step("AnswerGenerate") if kind is _SHORT else reasoned
    vote = Step("ScEnsemble" if kind is _PROGRAM else "Vote", samples=SAMPLES)
    select = to_workflow((plain, Step("Select", samples=SAMPLES)), anything) if kind is _PROGRAM else None
    return {
        "IO": to_workflow((plain,), anything),
        "CoT": to_workflow((reasoned, *shorten), anything),
        f"CoT-SC x{SAMPLES}": to_workflow((counted, vote), anything),
        **({f"Select x{SAMPLES}": select} if select else {}),
        **({"Program": to_workflow((Step("Programmer"),), anything)} if kind is _MATHEMATICS else {}),
        "Self-refine": _self_refine(task, kind),
        "MultiPersona": _multi_persona(task, kind),
    }


def _self_refine(task: TaskSpec, kind: _Kind) -> Workflow:
    operators, prompts = (*kind.operators, "Review"), {"REASON": kind.reason}
    if kind is _PROGRAM:
        text = 'problem + "\\n\\nEarlier solution:\\n" + answer + "\\n\\nReview:\\n" + review["feedback"]'
        rewrite = kind.call.format(text=text, prompt="prompt_custom.REWRITE")
        prompts["REWRITE"] = "Rewrite the earlier solution according to the review."
    else:
        rewrite = '(await self.revise(problem=problem, solution=answer, feedback=review["feedback"]))["solution"]'
        operators = (*operators, "Revise")
    body = f"""\
answer = {kind.call.format(text="problem", prompt="prompt_custom.REASON")}
for _ in range({REFINEMENTS}):
    review = await self.review(problem=problem, solution=answer)
    if review["review_result"]:
        break
    answer = {rewrite}
{kind.last}"""
    return write_program(task, operators, body.strip().splitlines(), "answer", prompts)


def _multi_persona(task: TaskSpec, kind: _Kind) -> Workflow:
    personas = ", ".join(f"prompt_custom.{name}" for name in PERSONAS)
    gather = 'problem + "\\n\\nProposed solutions:\\n" + "\\n\\n".join(answers)'
    body = f"""\
personas = [{personas}]
answers = [{kind.call.format(text="problem", prompt="persona")} for persona in personas]
board = {gather}
answers = [{kind.call.format(text="board", prompt="persona")} for persona in personas]
board = {gather}
answer = {kind.call.format(text="board", prompt="prompt_custom.JUDGE")}
{kind.last}"""
    judge = f"Several people proposed solutions. Weigh them and conclude. {kind.reason}"
    prompts = {name: f"{persona} {kind.reason}" for name, persona in PERSONAS.items()}
    return write_program(task, kind.operators, body.strip().splitlines(), "answer", {**prompts, "JUDGE": judge})
