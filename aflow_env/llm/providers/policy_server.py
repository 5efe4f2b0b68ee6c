# SPDX-License-Identifier: Apache-2.0
"""The policy under training as an LLMClient: wraps a callable that training/rollout/ connects to verl's server.

The server is ours: it costs no money, and an empty answer is an answer. Its exceptions, time-outs aside, are raised
unchanged, because a dead rollout server must end the run.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aflow_env.llm.client import Completion, LLMError, Request, derive_seed

Generate = Callable[[list[dict[str, str]], float, int, int], Awaitable[tuple[str, int, int]]]
"""(chat messages, temperature, max_tokens, seed) -> a draw of the policy, and its tokens (prompt, reply)."""


@dataclass(eq=False)
class PolicyClient:
    """An LLMClient over `generate`. `seconds` is the time-out of a call."""

    generate: Generate
    model: str = "policy"
    seed: int = 0
    seconds: float = 600.0

    async def complete(self, request: Request) -> Completion:
        """As LLMClient. Raises LLMError(timeout). Stop sequences cut the text, not the tokens counted."""
        started = time.monotonic()
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            async with asyncio.timeout(self.seconds):
                text, prompt_tokens, reply_tokens = await self.generate(
                    messages, request.temperature, request.max_tokens, derive_seed(self.seed, request)
                )
        except TimeoutError:
            raise LLMError("timeout", f"the policy gave no answer within {self.seconds:g} s") from None
        cut = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=len(text))
        return Completion(
            text=text[:cut],
            model=self.model or "policy",
            input_tokens=prompt_tokens,
            output_tokens=reply_tokens,
            stop_reason="length" if reply_tokens >= request.max_tokens and cut == len(text) else "stop",
            seconds=time.monotonic() - started,
        )

    async def aclose(self) -> None:
        """Release nothing: the server belongs to verl."""
