# SPDX-License-Identifier: Apache-2.0
"""A policy checkpoint on an OpenAI-compatible server, as proposer and predictor of a search without a trainer.

Both questions are chat completions, so the server applies the chat template of the training. Q_theta is read from the
log-probabilities of the first token of the answer to the value question (`logprobs`, `top_logprobs=20`,
`max_tokens=1`). A token counts as a digit by its text without white space. Servers return probabilities at temperature
1, and `policy.temperature` turns them into those of the training. A policy without a digit among its 20 likeliest
tokens is an error at the first question.

The calls have the budget, limits, retries and log of every other model, so a resumed search finds its earlier
predictions and proposals.
"""

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import AliasPath, Field, ValidationError

from aflow_env.config import AflowConfig, LLMConfig, explain
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.budget import Budget
from aflow_env.llm.client import LLMClient, PromptTooLong, Request
from aflow_env.llm.provider_limits import ProviderLimits
from aflow_env.llm.providers.answer import JSON
from aflow_env.llm.providers.openai import OpenAIClient
from aflow_env.llm.providers.provider import Lenient
from aflow_env.llm.providers.provider import Reply as Raw
from aflow_env.llm.record import CompletionLog
from aflow_env.search.prediction.predict import ActionValue, Candidate, value_messages
from aflow_env.search.prediction.q import digit_expectation
from aflow_env.search.proposals.proposal import Messages, Proposal, State, action_messages
from aflow_env.workflow.edits import edit_schema

TOP_LOGPROBS = 20
ROLE = "policy"


class _Token(Lenient):
    token: str
    logprob: float


class _FirstToken(Lenient):
    top: list[_Token] = Field([], validation_alias=AliasPath("choices", 0, "logprobs", "content", 0, "top_logprobs"))


class FirstTokenClient(OpenAIClient):
    """An LLMClient whose completion is the first token's alternatives, as JSON: [[token, log-probability], ...].

    The list is empty when the server returns no log-probabilities.
    """

    def _parameters(self, request: Request) -> dict[str, Any]:
        return {**super()._parameters(request), "logprobs": True, "top_logprobs": TOP_LOGPROBS}

    def _read(self, plain: JSON) -> Raw:
        first = _FirstToken.model_validate(plain).top
        reply = super()._read(plain)
        output = None if reply.output is None else max(1, reply.output)
        return replace(reply, text=json.dumps([[token.token, token.logprob] for token in first]), output=output)


@dataclass(frozen=True)
class ServedPolicy:
    """Proposer and QPredictor of the model at `policy.base_url`. States are cut until they fit its context."""

    config: AflowConfig
    writer: LLMClient
    first_token: LLMClient
    _values: dict[str, ActionValue] = field(default_factory=dict)

    async def propose(self, state: State, seed: int) -> Proposal:
        """Return one sampled action. `seed` numbers the draw, so that a resumed run finds it again.

        With `policy.structured=auto` the server allows only edits that fit the state's steps.
        """
        policy, steps = self.config.policy, state.steps
        structured = policy.structured == "auto" and self.config.form == "edit"
        schema = json.dumps(edit_schema(steps, state.task)) if structured and steps else ""
        settings = {"temperature": policy.temperature, "max_tokens": policy.max_tokens, "sample": seed}
        return Proposal(await self._ask(self.writer, partial(action_messages, state), schema_text=schema, **settings))

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
        """Return Q_theta of each edit, in [0, 1]. Equal edits are one question. Raises ConfigError without digits."""
        keys = [str(value_messages(state, edit, self.config)) for edit in edits]
        new = {key: edit for key, edit in zip(keys, edits, strict=True) if key not in self._values}
        answers = await asyncio.gather(*(self._predict(state, edit) for edit in new.values()))
        self._values.update(zip(new, answers, strict=True))
        return [self._values[key] for key in keys]

    async def aclose(self) -> None:
        """Close both clients."""
        await self.writer.aclose()
        await self.first_token.aclose()

    async def _predict(self, state: State, edit: Candidate) -> ActionValue:
        question = partial(value_messages, state, edit)
        text = await self._ask(self.first_token, question, temperature=1.0, max_tokens=1)
        top = [(str(token), float(value)) for token, value in json.loads(text)]
        policy = self.config.policy
        if not top:
            raise ConfigError(
                f"policy.base_url={policy.base_url} returns no log-probabilities, and Q is read off those: use a "
                f"server that returns them for chat completions (vLLM does, with --max-logprobs {TOP_LOGPROBS} or "
                "more), or set rl_weight=0 q.kind=none"
            )
        log_probs = digit_log_probs(top)
        expectation, mass = digit_expectation(log_probs, policy.temperature)
        if mass == 0.0:
            likeliest = ", ".join(repr(token) for token, _ in sorted(top, key=lambda each: -each[1])[:3])
            raise ConfigError(
                f"policy.model={policy.model} was asked for a digit, and none is among its {len(top)} likeliest "
                f"tokens (it begins with {likeliest}): it predicts nothing. Serve a checkpoint that was "
                "trained with q.kind=policy, or set rl_weight=0 q.kind=none"
            )
        return ActionValue(expectation, mass)

    async def _ask(self, client: LLMClient, question: Callable[[AflowConfig], Messages], **settings: Any) -> str:
        """Ask, with less of the state after each PromptTooLong. Raises ConfigError if the prompt never fits."""
        characters, model = self.config.state_characters, self.config.policy.model
        while True:
            messages = question(self.config.model_copy(update={"state_characters": characters}))
            try:
                return (await client.complete(Request(messages=messages, model=model, **settings))).text
            except PromptTooLong as error:
                characters = characters * 3 // 4
                if characters < 100:
                    raise ConfigError(
                        f"policy.model={model}: its context is too short for the question alone ({error}): serve it "
                        "with a longer one"
                    ) from error


def digit_log_probs(top: Sequence[tuple[str, float]]) -> tuple[float, ...]:
    """Return the log-probability of each digit 0..9, summed over the tokens with its text; -inf without any."""
    weights = [0.0] * 10
    for token, value in top:
        text = token.strip(" \t\n\u2581\u0120")  # also the marks of some servers for a leading space
        if len(text) == 1 and text in "0123456789":
            weights[int(text)] += math.exp(value)
    return tuple(math.log(weight) if weight > 0.0 else -math.inf for weight in weights)


def serve_policy(config: AflowConfig, budget: Budget, log: CompletionLog | None) -> ServedPolicy:
    """Return the policy of `policy.*`. In a replay `log` has its answers. Raises ConfigError (model, key or price)."""
    policy = config.policy
    try:
        node = LLMConfig(
            kind="openai",
            accept_empty=True,
            mode="replay" if config.executor.mode == "replay" else "record",
            **policy.model_dump(include={"base_url", "model", "api_key_variable", "prices", "temperature"}),
            **policy.model_dump(include={"max_tokens", "concurrency", "timeout_seconds", "structured"}),
        )
    except ValidationError as error:
        raise ConfigError(explain(error, ROLE).replace("executor.", "policy.")) from None
    scope = json.dumps([ROLE, policy.model, config.seed])  # not the address: a checkpoint is the same wherever it is
    limits = ProviderLimits(node, ROLE)
    client = partial(build_client, node, budget=budget, log=log, seed=config.seed, limits=limits, role=ROLE)
    first_token = client(served=FirstTokenClient, kept_under=f"{scope}first token")
    return ServedPolicy(config, client(kept_under=f"{scope}action"), first_token)
