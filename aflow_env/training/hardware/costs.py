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
"""The share of the nominal rate that training, or reading a prompt, is assumed to reach."""
PREDICTIONS = 32
"""Candidates of a round that the policy predicts: most are asked about once and stay open."""
GPU_USD = 2.5
"""Nominal rent of a GPU for an hour."""


@dataclass(frozen=True)
class Costs:
    """Of one step; `usd` is None where the executor's price is not known."""

    calls: int
    usd: float | None
    tokens: int
    """Policy tokens to train on, with rows of the assumed length."""
    tokens_a_second: float
    """Training tokens a second over all GPUs: log-probabilities, reference and update; the rollout not counted."""
    prediction_usd: float = 0.0
    """Of reading PREDICTIONS questions of the assumed length, without a prefix cache."""
    round_usd: float | None = None
    """Of the executor in one round."""

    @property
    def seconds(self) -> float:
        """Of the trainer's share of a step."""
        return self.tokens / self.tokens_a_second


def costs(
    plan: Plan,
    aflow: AflowConfig,
    calls: float,
    prompt: int,
    reply: int,
    row_tokens: int,
    tflops: float,
    gpu_usd: float = GPU_USD,
) -> Costs:
    """`calls` a problem run, `prompt` and `reply` tokens a call, `row_tokens` a training row.

    `tflops` are a GPU's, `gpu_usd` its rent for an hour.
    """
    count = round(plan.problem_runs * calls)
    tokens = plan.rows * row_tokens
    rate = plan.gpus * tflops * 1e12 * UTILISATION / plan.flops_a_token
    reading = PREDICTIONS * row_tokens * 2 * plan.parameters / (tflops * 1e12 * UTILISATION)
    usd, a_round = _usd(aflow, count, prompt, reply), _usd(aflow, count / plan.evaluations, prompt, reply)
    return Costs(count, usd, tokens, rate, reading * gpu_usd / 3600, a_round)


def _usd(aflow: AflowConfig, calls: float, prompt: int, reply: int) -> float | None:
    if aflow.executor.kind in ("policy", "simulated", "table"):
        return 0.0
    price = find_price(aflow.executor, needed=False)
    return None if price is None else calls * price.cost(prompt, reply) / PICO
