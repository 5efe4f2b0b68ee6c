# SPDX-License-Identifier: Apache-2.0
"""What this room's tests share: tasks, random step lists, and workflows as language models write them for AFlow."""

from hypothesis import settings
from hypothesis import strategies as st

from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import GENERATING, MAX_STEPS, Step, starts, takes_instruction, takes_samples

EVERY = tuple(SIGNATURES)
examples = settings(max_examples=100)  # the machine may be busy with other things
CODE_TASK = TaskSpec("humaneval", "HumanEval", EVERY, entry_point=True)
MATH_TASK = TaskSpec("math", "MATH", ("Custom", "ScEnsemble", "Programmer", "Review", "Revise", "Format"))
INSTRUCTIONS = ("Think step by step.", "Check the units.", "Answer with a number.")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@st.composite
def step_lists(draw: st.DrawFn, instructions: st.SearchStrategy[str] = ANY_TEXT) -> tuple[Step, ...]:
    """Any valid step list of CODE_TASK."""
    steps: list[Step] = []
    before = ""
    for _ in range(draw(st.integers(1, MAX_STEPS))):
        fits = [
            name for name in EVERY if (before or starts(name)) and (before in GENERATING or not takes_samples(name))
        ]
        name = draw(st.sampled_from(fits))
        instruction = draw(instructions) if takes_instruction(name) else ""
        steps.append(Step(name, instruction, draw(st.integers(2, 8)) if takes_samples(name) else 0))
        before = name if SIGNATURES[name].answer else before
    return tuple(steps)


def graph(dataset: str, body: str, operators: str, signature: str = "problem: str", extra: str = "") -> str:
    """A graph.py as AFlow writes it around what the model wrote."""
    created = "\n        ".join(f"self.{SIGNATURES[n].attribute()} = operator.{n}(self.llm)" for n in operators.split())
    return f'''from typing import Literal
import workspace.{dataset}.workflows.template.operator as operator
import workspace.{dataset}.workflows.round_7.prompt as prompt_custom
from scripts.async_llm import create_llm_instance


from scripts.evaluator import DatasetType
{extra}
class Workflow:
    def __init__(
        self,
        name: str,
        llm_config,
        dataset: DatasetType,
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.llm = create_llm_instance(llm_config)
        {created}

    async def __call__(self, {signature}):
        """
        Implementation of the workflow
        """
{body}
'''


LOOPS = Workflow(
    graph(
        "MATH",
        """
        # Several attempts, each with a hint of its own
        solutions = []
        for i in range(3):
            hint = f"Attempt {i + 1} of {3}: {prompt_custom.HINT_PROMPT}"
            solution = await self.custom(input=problem + "\\n" + hint, instruction=prompt_custom.SOLVE_PROMPT)
            solutions.append(solution['response'])
        best = await self.sc_ensemble(solutions=solutions, problem=problem)

        review = await self.review(problem=problem, solution=best['response'])
        rounds = 0
        while not review['review_result'] and rounds < 2:
            revised = await self.revise(problem=problem, solution=best['response'], feedback=review['feedback'])
            best = {'response': revised['solution']}
            review = await self.review(problem=problem, solution=best['response'])
            rounds += 1
        return best['response'], self.llm.get_usage_summary()["total_cost"]
""",
        "Custom ScEnsemble Review Revise",
    ),
    'HINT_PROMPT = """Try another way."""\nSOLVE_PROMPT = """\nPut the answer in \\\\boxed{}.\n\nProblem: """\n',
)
GATHER = Workflow(
    graph(
        "MATH",
        """
        def extract_number(text: str):
            match = re.search(r"####\\s*(-?\\d+(?:\\.\\d+)?)", text)
            return match.group(1) if match else None

        first, second = await asyncio.gather(
            self.custom(input=problem, instruction=prompt_custom.SOLVE_PROMPT),
            self.programmer(problem=problem, analysis="None"),
        )
        numbers = [extract_number(first["response"]), extract_number(str(second["output"]))]
        counts = Counter(number for number in numbers if number is not None)
        try:
            answer, votes = counts.most_common(1)[0]
        except (IndexError, ValueError) as error:
            answer = f"no number: {error!r}"
        if not counts or votes < 2:
            answer = (await self.format(problem=problem, solution=first.get("response", "")))["solution"]
        return answer, self.llm.get_usage_summary()["total_cost"]
""",
        "Custom Programmer Format",
        extra="import asyncio\nimport re\nfrom collections import Counter\n",
    ),
    'SOLVE_PROMPT = """Solve it."""\n',
)
CODE = Workflow(
    graph(
        "HumanEval",
        """
        solutions = [
            (await self.custom_code_generate(problem, entry_point, instruction=instruction))["response"]
            for instruction in (prompt_custom.CODE_PROMPT, "", "Mind the edge cases.")
        ]
        chosen = await self.sc_ensemble(solutions=solutions, problem=problem)
        result = await self.test(problem=problem, solution=chosen["response"], entry_point=entry_point)
        if result["result"]:
            return result["solution"], self.llm.get_usage_summary()["total_cost"]
        fallback = await self.custom(
            input=f"Problem: {problem}\\nFailed: {result['solution']}", instruction=prompt_custom.FIX_PROMPT
        )
        return fallback["response"], self.llm.get_usage_summary()["total_cost"]
""",
        "Custom CustomCodeGenerate ScEnsemble Test",
        signature="problem: str, entry_point: str",
    ),
    'CODE_PROMPT = """Write clean code."""\nFIX_PROMPT = """Mend it."""\n',
)
HELPERS = Workflow(
    graph(
        "MATH",
        """
        state = {"answer": "", "tries": 0}
        while state["tries"] < MAX_TRIES and not state["answer"]:
            state = await self._attempt(problem, state)
        return shorten(state["answer"]), self.llm.get_usage_summary()["total_cost"]

    async def _attempt(self, problem, state):
        reply = await self.custom(input=problem, instruction=prompt_custom.SOLVE_PROMPT)
        return {**state, "answer": reply["response"].strip(), "tries": state["tries"] + 1}
""",
        "Custom",
        extra="""
MAX_TRIES = 2


def shorten(text, limit=100):
    return text if len(text) <= limit else text[:limit] + "..."

""",
    ),
    '# prompts\nSOLVE_PROMPT = ("Solve it. "\n    "Be brief.")\n',
)
REALISTIC = {
    "loops": (LOOPS, MATH_TASK),
    "gather": (GATHER, MATH_TASK),
    "code": (CODE, CODE_TASK),
    "helpers": (HELPERS, MATH_TASK),
}
