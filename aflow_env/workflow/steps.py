# SPDX-License-Identifier: Apache-2.0
"""The normal form: a workflow as a list of 1 to 8 steps, and its exact round trip to AFlow's source.

Step k assigns `answer_k` and reads the latest earlier answer. The source is a pure function of the list. So `to_steps`
reads the operator calls of a program, writes the source of these steps, and compares digests. A program with another
digest is not in normal form.

Custom, AnswerGenerate and CustomCodeGenerate read the problem with the earlier answer below it. Programmer reads the
earlier answer as its analysis. An ensemble repeats the call before it until it has `samples` solutions, then votes.
Select repeats it until a solution passes the public tests. Review sets `feedback` and leaves the answer, Revise reads
both, Format and Test rewrite the answer.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aflow_env.errors import WorkflowError
from aflow_env.workflow.program import (
    SourceError,
    TaskSpec,
    Workflow,
    header,
    parse_source,
    prompt_constants,
    string_value,
)
from aflow_env.workflow.signatures import SIGNATURES

MAX_STEPS = 8
SAMPLES = range(2, 9)
GENERATING = ("Custom", "AnswerGenerate", "CustomCodeGenerate", "Programmer", "Revise")  # their samples differ


class StepError(WorkflowError):
    """The list of steps is no workflow. The text names the step and the reason."""


class NotNormalForm(WorkflowError):
    """The program is not the source of any list of steps."""


@dataclass(frozen=True)
class Step:
    """One operator call. Only Custom and CustomCodeGenerate have an `instruction`, only ensembles `samples` (2..8)."""

    operator: str
    instruction: str = ""
    samples: int = 0


def takes_instruction(operator: str) -> bool:
    """Return whether a step of this operator has a prompt of its own."""
    return "instruction" in SIGNATURES[operator].model_fields


def takes_samples(operator: str) -> bool:
    """Return whether a step of this operator is an ensemble."""
    return "solutions" in SIGNATURES[operator].model_fields


def stops_early(operator: str) -> bool:
    """Return whether an ensemble of this operator stops drawing once a solution is good."""
    return takes_samples(operator) and "result" in SIGNATURES[operator].returns


def starts(operator: str) -> bool:
    """Return whether the operator can be the first step, without an earlier answer."""
    return not {"solution", "solutions"} & set(SIGNATURES[operator].model_fields)


def usable_operators(task: TaskSpec) -> tuple[str, ...]:
    """Return the task's operators; operators with an entry point need a task that gives one."""
    return tuple(
        name
        for name in task.operators
        if name in SIGNATURES and (task.entry_point or "entry_point" not in SIGNATURES[name].model_fields)
    )


def check_steps(steps: Sequence[Step], task: TaskSpec) -> None:
    """Raise StepError unless the list is a workflow of this task."""
    if not 1 <= len(steps) <= MAX_STEPS:
        raise StepError(f"a workflow has 1 to {MAX_STEPS} steps, not {len(steps)}")
    allowed = usable_operators(task)
    before = ""  # the operator that made the latest answer
    for number, step in enumerate(steps, start=1):
        name = f"step {number} ({step.operator})"
        if step.operator not in allowed:
            raise StepError(f"{name}: the task allows only {', '.join(allowed)}")
        if not before and not starts(step.operator):
            raise StepError(f"{name}: it needs an earlier answer to work on")
        if step.instruction and not takes_instruction(step.operator):
            raise StepError(f"{name}: it takes no instruction")
        if takes_samples(step.operator):
            if step.samples not in SAMPLES:
                raise StepError(f"{name}: samples must be {SAMPLES[0]} to {SAMPLES[-1]}, not {step.samples}")
            if before not in GENERATING:
                raise StepError(f"{name}: it must come after one of {', '.join(GENERATING)}, not {before}")
        elif step.samples:
            raise StepError(f"{name}: it takes no samples")
        if SIGNATURES[step.operator].answer:
            before = step.operator


def to_workflow(steps: Sequence[Step], task: TaskSpec) -> Workflow:
    """Return the program of a list of steps. Raises StepError when the list is not a workflow of this task."""
    check_steps(steps, task)
    numbered = enumerate(steps, start=1)
    prompts = {f"STEP_{k}_PROMPT": step.instruction for k, step in numbered if takes_instruction(step.operator)}
    *statements, answer = _statements(steps)
    return write_program(task, [step.operator for step in steps], statements, answer, prompts)


def write_program(
    task: TaskSpec, operators: Iterable[str], statements: Iterable[str], answer: str, prompts: Mapping[str, str]
) -> Workflow:
    """Return AFlow's source with these operators, lines of `__call__`, name of the answer, and prompts by name."""
    created = [f"self.{SIGNATURES[name].attribute()} = operator.{name}(self.llm)" for name in dict.fromkeys(operators)]
    signature = "problem: str, entry_point: str" if task.entry_point else "problem: str"
    indent = "\n        "
    graph = f"""{header(task)}

class Workflow:
    def __init__(self, name: str, llm_config, dataset: DatasetType) -> None:
        self.name = name
        self.dataset = dataset
        self.llm = create_llm_instance(llm_config)
        {indent.join(created)}

    async def __call__(self, {signature}):
        {indent.join(statements)}
        return {answer}, self.llm.get_usage_summary()["total_cost"]
"""
    return Workflow(graph, "".join(f"{name} = {triple_quoted(text)}\n" for name, text in prompts.items()))


@lru_cache(maxsize=1024)  # a search reads one parent for each proposal
def to_steps(workflow: Workflow) -> tuple[Step, ...]:
    """Return the steps of a program in normal form, with any comments and layout. Raises NotNormalForm."""
    try:
        methods = (node for node in ast.walk(parse_source(workflow.graph)) if isinstance(node, ast.AsyncFunctionDef))
        call = next((method for method in methods if method.name == "__call__"), None)
        if call is None:
            raise StepError("no async __call__ method")
        steps = tuple(_read_steps(call, prompt_constants(workflow.prompts)))
        entry_point = any(argument.arg == "entry_point" for argument in call.args.args)
        task = TaskSpec("", "DATASET", tuple(dict.fromkeys(step.operator for step in steps)), entry_point)
        written = to_workflow(steps, task)
    except (SourceError, StepError) as error:
        raise NotNormalForm(f"not in normal form: {error}") from error
    if written.digest != workflow.digest:
        raise NotNormalForm("not in normal form: the code does more, or other, than a list of steps")
    return steps


def _statements(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the lines of `__call__`, then the name of the last answer."""
    answer = feedback = generated = ""
    for number, step in enumerate(steps, start=1):
        if takes_samples(step.operator):
            solutions = f"solutions_{number}"
            yield f"{solutions} = [{answer}]"
            yield f"for _ in range({step.samples - 1}):"
            if stops_early(step.operator):
                yield f"    if {_call(number, step, answer, feedback, '[-1:]', 'result')}:"
                yield "        break"
            yield f"    {solutions}.append({generated})"
        call = _call(number, step, answer, feedback)
        if SIGNATURES[step.operator].answer:
            answer, generated = f"answer_{number}", call
            yield f"{answer} = {call}"
        else:
            feedback = "feedback"
            yield f"{feedback} = {call}"
    yield answer


def _call(number: int, step: Step, answer: str, feedback: str, of: str = "", key: str = "") -> str:
    """Return the call of a step's operator, on a slice `of` its solutions, and the `key` of its reply."""
    signature = SIGNATURES[step.operator]
    context = f'problem + "\\n\\nEarlier answer:\\n" + {answer}' if answer else "problem"
    values = {
        "input": context,
        "problem": context if takes_instruction(step.operator) else "problem",
        "instruction": f"prompt_custom.STEP_{number}_PROMPT",
        "entry_point": "entry_point",
        "analysis": answer or '"None"',
        "solution": answer,
        "solutions": f"solutions_{number}{of}",
        "feedback": feedback or '"None"',
    }
    arguments = ", ".join(f"{name}={values[name]}" for name in signature.model_fields if name in values)
    return f'(await self.{signature.attribute()}({arguments}))["{key or signature.answer or "feedback"}"]'


def triple_quoted(text: str) -> str:
    """Return a triple-quoted literal of a text, with its line breaks, and unprintable characters escaped."""
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if text.endswith('"'):
        text = text[:-1] + '\\"'
    text = "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f'"""{text}"""'


def _read_steps(call: ast.AsyncFunctionDef, prompts: dict[str, str]) -> Iterator[Step]:
    operators = {signature.attribute(): name for name, signature in SIGNATURES.items()}
    samples = 0
    for statement in call.body:
        match statement:
            case ast.For(iter=ast.Call(args=[ast.Constant(value=int(repeats))])):
                samples = repeats + 1
            case ast.Assign(
                value=ast.Subscript(value=ast.Await(value=ast.Call(func=ast.Attribute(attr=attribute)) as made))
            ):
                if attribute not in operators:
                    raise StepError(f"unknown operator {attribute}")
                yield Step(operators[attribute], _instruction(made, prompts), samples)
                samples = 0


def _instruction(call: ast.Call, prompts: dict[str, str]) -> str:
    value = next((keyword.value for keyword in call.keywords if keyword.arg == "instruction"), None)
    return prompts.get(value.attr, "") if isinstance(value, ast.Attribute) else string_value(value) or ""
