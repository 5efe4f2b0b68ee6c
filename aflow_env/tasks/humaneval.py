# SPDX-License-Identifier: Apache-2.0
"""HumanEval: complete a function. Fields `task_id`, `prompt`, `entry_point`, `test`, `canonical_solution`.

Public tests are the examples in the docstring; hidden tests are `test`'s `check`. A reply that does not define the
function is read as its body. The prompt's own imports and helper functions stand before the reply, as the tests of some
problems call them.
"""

from aflow_env.config import TaskConfig
from aflow_env.tasks.base import Problem, RunTests, Score
from aflow_env.tasks.code import defines, score_by_tests
from aflow_env.tasks.dataset import FileTask, Hub
from aflow_env.tasks.examples import docstring_examples
from aflow_env.tasks.records import Record
from aflow_env.workflow.parsing import extract_code
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("humaneval", "HumanEval", ("Custom", "CustomCodeGenerate", "ScEnsemble", "Test"), entry_point=True)
HUB = Hub("openai/openai_humaneval", whole="test")


def task(config: TaskConfig) -> FileTask:
    """HumanEval's 164 problems, split 33 / 131."""
    return FileTask(config, SPEC, problem, score, HUB)


def problem(record: Record) -> Problem:
    """A record of the official file as a problem. Raises ConfigError."""
    prompt, entry_point = record.text("prompt"), record.text("entry_point")
    if not defines(prompt, entry_point):
        raise record.error("prompt", f"does not define the entry point {entry_point}")
    tests = record.text("test")
    if not defines(tests, "check"):
        raise record.error("test", "does not define check(candidate)")
    return Problem(
        id=record.text("task_id"),
        prompt=prompt,
        answer=record.text("canonical_solution"),
        entry_point=entry_point,
        public_tests=docstring_examples(prompt, entry_point),
        hidden_tests=tests,
    )


async def score(problem: Problem, output: str, run_code: RunTests) -> Score:
    """Whether `check` passes."""
    return await score_by_tests(problem, whole_program(problem, output), str(problem.entry_point), run_code)


def whole_program(problem: Problem, output: str) -> str:
    """The reply as a module that defines the entry point and whatever the prompt defines before it."""
    entry_point = str(problem.entry_point)
    code = extract_code(output, entry_point)
    if defines(code, entry_point):
        return f"{problem.prompt[: problem.prompt.rindex(f'def {entry_point}')]}\n{code}"
    return problem.prompt + (output if code == output.strip() else code)  # an unfenced body needs its indentation
