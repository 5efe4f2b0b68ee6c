# SPDX-License-Identifier: Apache-2.0
"""The policy in training as proposer, predictor and executor, asked through verl's rollout server.

Proposals and executor calls go through verl's own LLM client (token ids in, token ids out). Predictions need the
probabilities of ten tokens, which that client does not return. So they go to the same server's OpenAI endpoint: one
HTTP request for all edits of a state, one token each. The weights are those last synced.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
from transformers import PreTrainedTokenizerBase

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.search.prediction.predict import ActionValue, Candidate, value_messages
from aflow_env.search.prediction.q import digit_expectation
from aflow_env.search.proposals.proposal import Messages, Proposal, State, action_messages

ATTEMPT = uuid4().hex
"""Names this process: weights that are trained again after a kill are other weights, whatever their step."""
Values = dict[tuple[int, ...], ActionValue]
"""Prompt of a value question -> its answer."""
Asked = dict[tuple[int, ...], asyncio.Task[Values]]
"""Prompt of a value question -> the request that asks it."""
DIGITS = "0123456789"
TOP_LOGPROBS = 20
NO_DIGIT = (
    f"asked for a digit, the policy has none among its {TOP_LOGPROBS} likeliest tokens, so it predicts nothing: "
    "use an instruction-tuned policy (actor_rollout_ref.model.path), or aflow.q.kind=none with aflow.rl_weight=0"
)


@dataclass(frozen=True)
class Tokens:
    """An answer for the trainer: prompt and response token ids, log-probs, and the weights' version."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    version: int


@dataclass(frozen=True)
class DigitTokens:
    """The value question's prompt, and each digit's log-prob.

    A digit that is not among the server's top tokens has -inf. Its true log-prob is at most `floor`, the top's least.
    """

    prompt_ids: tuple[int, ...]
    digit_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    floor: float = -math.inf


def digit_token_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the token of each digit. Raises ConfigError when a digit is not a single token of its own."""
    ids = [tokenizer.encode(digit, add_special_tokens=False) for digit in DIGITS]
    split = [digit for digit, tokens in zip(DIGITS, ids, strict=True) if len(tokens) != 1 or ids.count(tokens) > 1]
    if split:
        raise ConfigError(
            f"actor_rollout_ref.model.path: the tokenizer has no single token for the digits {split}, and "
            "q.kind=policy reads the policy's prediction off those; use a tokenizer that splits digits (Qwen2.5, Llama "
            "3), or aflow.q.kind=none with aflow.rl_weight=0"
        )
    return tuple(tokens[0] for tokens in ids)


@dataclass
class RolloutPolicy:
    """verl's rollout server for one session.

    `sampling` is verl's for agent loops (temperature, top_p, ...), `template` further arguments of the chat template
    (`data.apply_chat_template_kwargs`). `predict_seconds` is how long this session has waited for predictions.
    Sessions of the same weights share `asked`, since they often try the same edit.
    """

    server: Any
    tokenizer: PreTrainedTokenizerBase
    config: AflowConfig
    sampling: dict[str, Any]
    request_id: str
    prompt_length: int
    temperature: float
    http: httpx.AsyncClient
    template: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked = field(default_factory=dict)
    predict_seconds: float = 0.0
    _model: str = ""

    async def propose(self, state: State, seed: int) -> Proposal:
        """Sample an action from the policy; its reply carries the tokens."""
        prompt_ids = self.fit(partial(action_messages, state))
        output = await self.server.generate(
            request_id=self.request_id, prompt_ids=list(prompt_ids), sampling_params=dict(self.sampling)
        )
        version = output.extra_fields.get("max_global_steps") or 0
        tokens = Tokens(prompt_ids, tuple(output.token_ids), tuple(output.log_probs or ()), int(version))
        return Proposal(self.tokenizer.decode(output.token_ids, skip_special_tokens=True), tokens)

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
        """Return Q_theta of each edit: the expectation over the digit that the policy would answer, in [0, 1]."""
        return await self.values([(state, edit) for edit in edits])

    async def values(self, pairs: Sequence[tuple[State, Candidate]]) -> list[ActionValue]:
        """Return Q_theta of edits of several states, with one request for those that nobody has asked about."""
        prompts = [self.fit(partial(value_messages, state, edit)) for state, edit in pairs]
        new = list(dict.fromkeys(prompt for prompt in prompts if prompt not in self.asked))
        if new:
            self.asked.update(dict.fromkeys(new, asyncio.create_task(self._ask(new))))
        began, found = time.monotonic(), Values()
        for request in {self.asked[prompt] for prompt in prompts}:
            found |= await asyncio.shield(request)  # it serves other sessions when this one is cancelled
        self.predict_seconds += time.monotonic() - began
        return [found[prompt] for prompt in prompts]

    def fit(self, build: Callable[[AflowConfig], Messages]) -> tuple[int, ...]:
        """Return the messages' token ids, with the state cut until they fit `rollout.prompt_length`.

        Raises ConfigError if they never fit.
        """
        characters = self.config.state_characters
        while True:
            config = self.config.model_copy(update={"state_characters": characters})
            prompt_ids = self.encode([message.model_dump() for message in build(config)])
            if len(prompt_ids) <= self.prompt_length:
                return prompt_ids
            if characters < 100:
                raise ConfigError(
                    f"actor_rollout_ref.rollout.prompt_length={self.prompt_length} is too short for the question "
                    f"alone, which has {len(prompt_ids)} tokens: raise it"
                )
            characters = characters * 3 // 4

    def encode(self, chat: list[dict[str, str]]) -> tuple[int, ...]:
        """Return the token ids of a chat, up to where the assistant answers."""
        encoded = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=True, return_dict=True, **self.template
        )
        return tuple(encoded["input_ids"])

    async def complete(
        self, messages: list[dict[str, str]], temperature: float, max_tokens: int, seed: int
    ) -> tuple[str, int, int]:
        """Answer as executor: (text, prompt tokens, completion tokens).

        Raises InfrastructureError when the server fails.
        """
        prompt_ids = self.encode(messages)
        sampling = {"temperature": temperature, "max_tokens": max_tokens, "logprobs": False}
        output = await self.server.generate(
            request_id=f"{self.request_id}-{seed}", prompt_ids=list(prompt_ids), sampling_params=sampling
        )
        text = self.tokenizer.decode(output.token_ids, skip_special_tokens=True)
        return text, len(prompt_ids), len(output.token_ids)

    async def _ask(self, prompts: list[tuple[int, ...]]) -> Values:
        digit_ids, values = digit_token_ids(self.tokenizer), Values()
        try:
            choices = await self._choices(prompts)
        except InfrastructureError:
            for prompt in prompts:
                del self.asked[prompt]  # the next session asks again
            raise
        for prompt, choice in zip(prompts, choices, strict=True):
            top = choice["logprobs"]["top_logprobs"][0]
            log_probs = tuple(float(top.get(f"token_id:{digit}", float("-inf"))) for digit in digit_ids)
            expectation, mass = digit_expectation(log_probs)
            if mass <= 0.0:
                raise ConfigError(NO_DIGIT)
            floor = sorted(map(float, top.values()), reverse=True)[:TOP_LOGPROBS][-1]
            values[prompt] = ActionValue(expectation, mass, DigitTokens(prompt, digit_ids, log_probs, floor))
        return values

    async def _choices(self, prompts: list[tuple[int, ...]]) -> list[dict[str, Any]]:
        """Ask for one token after each prompt, in one request; return the choices in the prompts' order."""
        address, _ = await self.server._acquire_server(self.request_id)
        try:
            if not self._model:
                models = await self._http_json("GET", f"http://{address}/v1/models")
                self._model = models["data"][0]["id"]
            asked = {"prompt": list(map(list, prompts)), "max_tokens": 1, "temperature": self.temperature}
            wanted = {"logprobs": TOP_LOGPROBS, "return_tokens_as_token_ids": True}
            body = {"model": self._model, **asked, **wanted}
            answer = await self._http_json("POST", f"http://{address}/v1/completions", body)
        finally:
            self.server._release_server(address, request_id=self.request_id)
        return sorted(answer["choices"], key=lambda choice: int(choice["index"]))

    async def _http_json(self, method: str, url: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = await self.http.request(method, url, json=body)
            response.raise_for_status()
            return response.json()
        except httpx.HTTPStatusError as error:
            raise InfrastructureError(f"the rollout server refused {url}: {error.response.text[:300]}") from error
        except httpx.HTTPError as error:
            raise InfrastructureError(f"the rollout server did not answer {url}: {error!r}") from error


def steps_behind(global_steps: int, training: bool) -> int:
    """Return how many training steps the rollout server's weights have when it plays a row of `global_steps`.

    verl counts a step when it begins. It syncs the weights at the step's end and validates after that.
    """
    return global_steps - 1 if training else global_steps


def weights_version(config: AflowConfig, steps: int) -> str:
    """Return the name of the weights after `steps` training steps; "" where the executor is no policy in training.

    Scores of a policy that executes are valid for its weights alone.
    """
    return f"{ATTEMPT}/{steps}" if config.executor.kind == "policy" else ""
