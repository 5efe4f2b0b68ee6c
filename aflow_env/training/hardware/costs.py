# SPDX-License-Identifier: Apache-2.0
"""What one training step asks of the executor and of the GPUs' arithmetic, as far as it can be said beforehand.

Calls a run and tokens a call are what the shipped GSM8K search took with a real executor (docs/results.md: 520 runs of
its 13 nodes); another task has others, so they are options of `aflow-env plan`. Time is FLOPs over a share of the
card's nominal rate: an estimate by formula. One run on a shared H100 reached half of it (docs/hardware.md).
"""

from dataclasses import dataclass

from aflow_env.config import AflowConfig
from aflow_env.llm.prices import PICO, find_price
from aflow_env.training.hardware.plan import Plan

CALLS_A_RUN, PROMPT_TOKENS, REPLY_TOKENS = 2.46, 181, 212
ROW_TOKENS = 716
"""The median training row of searches on generated problems, SIMULATED executor (docs/hardware.md)."""
TFLOPS = 312.0
"""An A100's nominal bf16 rate."""
UTILISATION = 0.35
"""The share of the nominal rate that training is assumed to reach."""


@dataclass(frozen=True)
class Costs:
    """Of one step; `usd` is None where the executor's price is not known."""

    calls: int
    usd: float | None
    tokens: int
    """Policy tokens to train on, with rows of the assumed length."""
    tokens_a_second: float
    """Training tokens a second over all GPUs: log-probabilities, reference and update; the rollout not counted."""

    @property
    def seconds(self) -> float:
        """Of the trainer's share of a step."""
        return self.tokens / self.tokens_a_second


def costs(
    plan: Plan, aflow: AflowConfig, calls: float, prompt: int, reply: int, row_tokens: int, tflops: float
) -> Costs:
    """`calls` a problem run, `prompt` and `reply` tokens a call, `row_tokens` a training row, `tflops` a GPU."""
    count = round(plan.problem_runs * calls)
    tokens = plan.rows * row_tokens
    rate = plan.gpus * tflops * 1e12 * UTILISATION / plan.flops_a_token
    return Costs(count, _usd(aflow, count, prompt, reply), tokens, rate)


def _usd(aflow: AflowConfig, calls: int, prompt: int, reply: int) -> float | None:
    if aflow.executor.kind in ("policy", "simulated", "table"):
        return 0.0
    price = find_price(aflow.executor, needed=False)
    return None if price is None else calls * price.cost(prompt, reply) / PICO
