# SPDX-License-Identifier: Apache-2.0
"""Print the scores of chosen workflows on the SIMULATED landscape, through the real operators.

    python -m recipe.bench.landscape [--problems 600] [--temperature 0.7] [--seed 0] [--landscape FILE]

Steps are run here by a plain loop instead of the sandbox; it is the simulator's own code that runs in this process.
Each line: mean score with its 95 % interval, tokens and nominal cost a problem, and the workflow.
"""

import argparse
import asyncio
import math
from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from aflow_env.config import TaskConfig
from aflow_env.llm.client import Message, Request
from aflow_env.llm.simulated.executor import SimulatedClient
from aflow_env.llm.simulated.landscape import load_landscape
from aflow_env.tasks import Problem, load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.workflow.operators import CodeResult, OperatorContext, call_operator
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import Step, takes_instruction, takes_samples

STEP = "Think step by step, then give the final number."
LIST = "Write down each quantity and its unit before you calculate."
CHECK = "Check your result by working backwards."
BARE = "Answer with the number only."
BRIEF = "Be brief and confident."
TEACHER = "Reply as a friendly teacher."


class Meter:
    """One problem's operator context: counts words and cost, numbers identical prompts as the evaluator does."""

    def __init__(self, client: SimulatedClient, temperature: float) -> None:
        self.client, self.temperature = client, temperature
        self.tokens, self.cost = 0, 0.0
        self.seen: Counter[str] = Counter()

    async def ask(self, prompt: str, fields: tuple[str, ...]) -> str:
        request = Request(
            messages=(Message(role="user", content=prompt),), temperature=self.temperature, sample=self.seen[prompt]
        )
        self.seen[prompt] += 1
        completion = await self.client.complete(request)
        self.tokens += completion.tokens
        self.cost += completion.cost_usd
        return completion.text


async def run_code(code: str, name: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
    """Run code in this process; it is the simulator's own."""
    scope: dict[str, object] = {}
    try:
        exec(code, scope)
        function = scope[name]
        assert callable(function)
        return CodeResult("ok", str(function(*arguments)))
    except Exception as error:
        return CodeResult("crash", None, f"{type(error).__name__}: {error}")


async def run(steps: Sequence[Step], problem: str, context: OperatorContext) -> str:
    """The final answer of a workflow in normal form (what its source would do, see aflow_env/workflow/steps.py)."""

    async def call(name: str, arguments: dict[str, JsonValue]) -> str:
        reply = await call_operator(name, arguments, context)
        return str(reply[SIGNATURES[name].answer or "feedback"])

    answer, feedback = "", "None"
    generating: tuple[str, dict[str, JsonValue]] = ("", {})
    for step in steps:
        below = f"{problem}\n\nEarlier answer:\n{answer}" if answer else problem
        solutions: list[JsonValue] = [answer]
        if takes_samples(step.operator):
            solutions += [await call(*generating) for _ in range(step.samples - 1)]
        values: dict[str, JsonValue] = {
            "input": below,
            "problem": below if takes_instruction(step.operator) else problem,
            "instruction": step.instruction,
            "analysis": answer or "None",
            "solution": answer,
            "solutions": solutions,
            "feedback": feedback,
        }
        arguments = {name: values[name] for name in SIGNATURES[step.operator].model_fields if name in values}
        if SIGNATURES[step.operator].answer is None:
            feedback = await call(step.operator, arguments)
        else:
            generating = (step.operator, arguments)
            answer = await call(*generating)
    return answer


async def measure(
    steps: Sequence[Step], problems: Sequence[Problem], seed: int, temperature: float, landscape: str | None = None
) -> tuple[float, float, float]:
    """Mean score, words a problem, nominal USD a problem."""
    task = load_task(TaskConfig(name="arithmetic"))
    client = SimulatedClient(load_landscape(landscape), seed)
    score = tokens = cost = 0.0
    for problem in problems:
        meter = Meter(client, temperature)
        output = await run(steps, problem.prompt, OperatorContext(meter.ask, run_code))
        score += (await task.score(problem, output, None)).value  # type: ignore[arg-type]
        tokens += meter.tokens
        cost += meter.cost
    return score / len(problems), tokens / len(problems), cost / len(problems)


def chosen() -> dict[str, list[tuple[Step, ...]]]:
    """Return the workflows to show, by what they show."""
    start = start_steps(load_task(TaskConfig(name="arithmetic")).spec)
    custom = lambda text: Step("Custom", text)  # noqa: E731
    program, vote5, vote3 = Step("Programmer"), Step("ScEnsemble", samples=5), Step("ScEnsemble", samples=3)
    review, revise, neat, think = Step("Review"), Step("Revise"), Step("Format"), Step("AnswerGenerate")
    return {
        "start": [start],
        "one edit: another prompt": [(custom(text),) for text in (LIST, STEP, CHECK, BRIEF, TEACHER, "")],
        "one edit: another step": [
            *((*start, custom(text)) for text in (STEP, LIST, CHECK, BARE, BRIEF, TEACHER)),
            *((custom(text), *start) for text in (STEP, LIST)),
            *((*start, step) for step in (think, program, vote3, vote5, neat, review, revise)),
            (program,),
            (think,),
        ],
        "two edits": [
            (custom(LIST), custom(STEP)),
            (custom(STEP), custom(CHECK)),
            (custom(LIST), program),
            (custom(STEP), program),
            (custom(STEP), vote5),
            (custom(LIST), vote5),
            (think, program),
            (*start, review, revise),
            (program, vote5),
        ],
        "three edits": [
            (custom(LIST), custom(STEP), program),
            (custom(LIST), custom(STEP), custom(CHECK)),
            (custom(LIST), custom(CHECK), program),
            (custom(LIST), program, vote5),
            (custom(STEP), custom(CHECK), vote5),
            (custom(STEP), program, vote5),
            (custom(STEP), review, revise),
        ],
        "four and five edits": [
            (custom(LIST), custom(STEP), program, vote3),
            (custom(LIST), custom(STEP), program, vote5),
            (custom(LIST), custom(CHECK), program, vote5),
            (custom(LIST), custom(LIST), program, vote5),
            (custom(LIST), custom(STEP), custom(CHECK), program, vote5),
            (custom(LIST), custom(LIST), custom(CHECK), program, vote5),
            (custom(LIST), custom(CHECK), program, Step("ScEnsemble", samples=8)),
            (custom(LIST), custom(STEP), custom(CHECK), vote5),
            (custom(LIST), custom(STEP), review, revise, vote5),
        ],
        "spoilt": [
            (custom(LIST), custom(STEP), program, vote5, custom(BARE)),
            (custom(LIST), custom(STEP), program, vote5, custom(STEP)),
            (custom(LIST), custom(BARE), program, vote5),
            (custom(LIST), custom(STEP), program, vote5, neat),
            (custom(LIST), custom(STEP), program, vote5, review, revise),
            (custom(TEACHER), program, vote5),
        ],
    }


def show(steps: Sequence[Step]) -> str:
    """Return one line for a workflow."""
    names = {STEP: "step", LIST: "list", CHECK: "check", BARE: "bare", BRIEF: "brief", TEACHER: "teacher", "": "-"}
    return " > ".join(
        f"Custom[{names.get(step.instruction, step.instruction)}]"
        if step.operator == "Custom"
        else f"{step.operator}{step.samples or ''}"
        for step in steps
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=600)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--landscape", help="as executor.landscape")
    options = parser.parse_args()
    task = load_task(TaskConfig(name="arithmetic", test_size=options.problems))
    problems = task.load("test", seed=options.seed)
    print(f"SIMULATED executor, {len(problems)} arithmetic problems, temperature {options.temperature}")
    print("| score | ± | words | micro-USD | workflow |\n|---|---|---|---|---|")
    for title, workflows in chosen().items():
        print(f"| | | | | *{title}* |")
        for steps in workflows:
            drawn = measure(steps, problems, options.seed, options.temperature, options.landscape)
            score, tokens, cost = asyncio.run(drawn)
            half = 1.96 * math.sqrt(score * (1 - score) / len(problems))
            print(f"| {score:.2f} | {half:.2f} | {tokens:.0f} | {cost * 1e6:.0f} | {show(steps)} |", flush=True)


if __name__ == "__main__":
    main()
