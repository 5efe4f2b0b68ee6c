# SPDX-License-Identifier: Apache-2.0
"""One run of a workflow on a problem: ask the executor for the workflow's operators, and count the cost.

The k-th identical question (k from 0) asks for draw repeat * DRAWS + k of that prompt. The first draw has the
`temperature` of the executor, each later one its `sample_temperature`. So the answers in an ensemble differ, repeats
are new draws, and the same workflow asks for the same draws again. Concurrent questions count in the order of calls.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from pydantic import JsonValue

from aflow_env.config import LLMConfig
from aflow_env.errors import WorkflowError
from aflow_env.evaluation.results import COUNTS, Outcome, ProblemResult
from aflow_env.llm.client import Completion, LLMClient, LLMError, Message, Request
from aflow_env.sandbox.jail.wire import JSON
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.operators import OperatorContext, RunCode, call_operator
from aflow_env.workflow.signatures import SIGNATURES

DRAWS = 1000  # of one prompt within a problem and repeat, far above a problem's call limit
UNANSWERED = "the model gave no answer"  # begins the error of a call that the model left without a text
TRACED = 12  # operator calls in a trace
TRACE_CHARACTERS = 160  # of an output in a trace


@dataclass
class Attempt:
    """The questions so far for one problem and repeat, and their cost. `fatal`: no later call can succeed.

    `steps` has a line for each operator call, in the order of the calls.
    """

    problem: Problem
    repeat: int
    asked: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    truncated: int = 0
    unpriced: int = 0
    fatal: bool = False
    steps: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int]:
        """The result's key in a cache, within a workflow and executor key."""
        return self.problem.digest, self.repeat

    def context(
        self,
        client: LLMClient,
        config: LLMConfig,
        run_code: RunCode,
        answers: str = "text",
        paid: list[float] | None = None,
    ) -> OperatorContext:
        """Return the context of one operator call, without hidden tests and answer. `paid` gets the cost of its calls.

        Calls that run side by side each have their own.
        """
        return OperatorContext(
            ask=partial(self._ask, client, config, [] if paid is None else paid),
            run_code=run_code,
            public_tests=self.problem.public_tests,
            entry_point=self.problem.entry_point,
            answers=answers,
            prelude=self.problem.prelude,
        )

    async def call(self, operator: str, arguments: dict[str, JSON], context: OperatorContext) -> dict[str, JsonValue]:
        """Run an operator and note it in `steps`. Raises as `call_operator` does."""
        place = len(self.steps)
        self.steps.append(f"{operator}: no output")
        reply = await call_operator(operator, arguments, context)
        text = str(reply[SIGNATURES[operator].answer or "feedback"])
        verdict = "".join(f"{name}={value} " for name, value in reply.items() if isinstance(value, bool))
        self.steps[place] = f"{operator}: {verdict}{' '.join(text[: 2 * TRACE_CHARACTERS].split())[:TRACE_CHARACTERS]}"
        return reply

    @property
    def trace(self) -> str:
        """The first TRACED steps, numbered, and how many follow."""
        lines = [f"{number}. {step}" for number, step in enumerate(self.steps[:TRACED], start=1)]
        more = len(self.steps) - len(lines)
        return "\n".join([*lines, *[f"and {more} more"] * (more > 0)])

    def result(self, outcome: Outcome, seconds: float = 0.0, **more: JSON) -> ProblemResult:
        """Return the result of this attempt."""
        return ProblemResult(
            self.problem.id,
            self.repeat,
            outcome,
            seconds=seconds,
            cost_usd=self.cost_usd,
            problem_digest=self.problem.digest,
            trace="" if outcome == Outcome.CORRECT else self.trace,
            **{name: getattr(self, name) for name in COUNTS},
            **more,
        )

    async def _ask(
        self, client: LLMClient, config: LLMConfig, paid: list[float], prompt: str, fields: tuple[str, ...]
    ) -> str:
        """Ask for one completion. Raises as the client does, and WorkflowError for a question after the DRAWS-th.

        A prompt that is blank, or that the model does not answer, is the workflow's fault. Else a workflow could leave
        the problems that it finds hard out of its score.
        """
        if not prompt.strip():
            raise WorkflowError("the prompt is empty")
        wanted = fields if config.structured == "auto" else ()
        if wanted:
            prompt += f"\nWrite no tags: the reply is one JSON object with a text under each of {', '.join(wanted)}."
        draw = self.asked[prompt, wanted]
        if draw == DRAWS:
            raise WorkflowError(f"the same question was asked {DRAWS} times")
        self.asked[prompt, wanted] += 1
        request = Request(
            messages=(Message(role="user", content=prompt),),
            model=config.model,
            temperature=config.sample_temperature if draw else config.temperature,
            max_tokens=config.max_tokens,
            sample=self.repeat * DRAWS + draw,
            fields=wanted,
        )
        try:
            completion = await client.complete(request)
        except LLMError as error:
            if not error.unanswered:
                raise
            if error.billed is not None:
                self._count(error.billed, paid)
            raise WorkflowError(f"{UNANSWERED} ({error.kind})") from None
        self._count(completion, paid)
        return completion.text

    def _count(self, completion: Completion, paid: list[float]) -> None:
        paid.append(completion.cost_usd)
        self.cost_usd += completion.cost_usd
        self.input_tokens += completion.tokens - completion.output_tokens
        self.output_tokens += completion.output_tokens
        self.calls += 1
        self.truncated += completion.stop_reason in ("length", "no_text")
        self.unpriced += not completion.cost_known
