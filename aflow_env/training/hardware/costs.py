# SPDX-License-Identifier: Apache-2.0
"""Estimate the executor calls, USD and trainer seconds of one training step.

Calls a run and tokens a call are measured: 520 runs of the 13 nodes of a GSM8K search with a real executor
(recipe/evidence/results/gsm8k_search.json). Other tasks differ, so they are options of `aflow-env plan`. Time is FLOPs
over a share of the card's nominal rate. One run on a shared H100 reached half of this rate (docs/hardware.md).
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
    """Costs of one step. `usd` and `round_usd` (the executor's of one round) are None without a known price.

    `tokens` are the policy's to train on. `tokens_a_second` counts log-probabilities, reference and update on all GPUs.
    `prediction_usd` is for reading PREDICTIONS questions without a prefix cache.
    """

    calls: int
    usd: float | None
    tokens: int
    tokens_a_second: float
    prediction_usd: float
    round_usd: float | None

    @property
    def seconds(self) -> float:
        """The seconds of a step without the rollout."""
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
    """Return the costs for `calls` a problem run, `prompt` and `reply` tokens a call, `row_tokens` a training row.

    `tflops` and `gpu_usd` (rent for an hour) are those of one GPU.
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
