# SPDX-License-Identifier: Apache-2.0
"""One problem and repeat on its way: it asks the executor for the workflow's operators, and keeps count of what that
costs.

The k-th identical question asks for draw repeat * DRAWS + k of that prompt: an ensemble draws anew, a repeat draws
anew, and whoever runs the same workflow again asks for the very same draws. Questions that run side by side are
numbered as they arrive.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aflow_env.config import LLMConfig
from aflow_env.errors import WorkflowError
from aflow_env.evaluation.results import Outcome, ProblemResult
from aflow_env.llm.client import LLMClient, Message, Request
from aflow_env.tasks.base import Problem
from aflow_env.workflow.operators import AskOptions, OperatorContext, RunCode

JSON = Any

DRAWS = 1000  # of one prompt within a problem and repeat; far above what a problem's call limit lets through


@dataclass
class Attempt:
    """What was asked so far for one problem and repeat, and what it cost; `fatal` once no later call can succeed."""

    problem: Problem
    problem_digest: str
    repeat: int
    asked: Counter[tuple[str, AskOptions]] = field(default_factory=Counter)
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    truncated: int = 0
    unpriced: int = 0
    fatal: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Under which a cache knows the result, within a workflow and executor key."""
        return self.problem_digest, self.repeat

    def context(self, client: LLMClient, config: LLMConfig, run_code: RunCode) -> OperatorContext:
        """What the operators of this attempt may reach: no hidden test, no answer."""
        return OperatorContext(
            ask=partial(self._ask, client, config),
            run_code=run_code,
            public_tests=self.problem.public_tests,
            entry_point=self.problem.entry_point,
        )

    def result(self, outcome: Outcome, seconds: float = 0.0, **more: JSON) -> ProblemResult:
        """The result that this attempt has come to."""
        return ProblemResult(
            problem_id=self.problem.id,
            repeat=self.repeat,
            outcome=outcome,
            seconds=seconds,
            cost_usd=self.cost_usd,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            calls=self.calls,
            problem_digest=self.problem_digest,
            truncated=self.truncated,
            unpriced=self.unpriced,
            **more,
        )

    async def _ask(self, client: LLMClient, config: LLMConfig, prompt: str, options: AskOptions) -> str:
        """One completion. Raises as the client does, and WorkflowError for the question after the DRAWS-th."""
        draw = self.asked[prompt, options]
        if draw == DRAWS:
            raise WorkflowError(f"the same question was asked {DRAWS} times")
        self.asked[prompt, options] += 1
        held = options.fields if config.structured == "auto" else ()
        if held:
            prompt += f"\nWrite no tags: the reply is one JSON object with a text under each of {', '.join(held)}."
        system = (Message(role="system", content=options.system),) if options.system else ()
        request = Request(
            messages=(*system, Message(role="user", content=prompt)),
            model=config.model,
            temperature=config.temperature if options.temperature is None else options.temperature,
            max_tokens=options.max_tokens or config.max_tokens,
            sample=self.repeat * DRAWS + draw,
            fields=held,
        )
        completion = await client.complete(request)
        self.cost_usd += completion.cost_usd
        self.input_tokens += completion.tokens - completion.output_tokens
        self.output_tokens += completion.output_tokens
        self.calls += 1
        self.truncated += completion.stop_reason == "length"
        self.unpriced += not completion.cost_known
        return completion.text
