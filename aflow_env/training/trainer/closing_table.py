# SPDX-License-Identifier: Apache-2.0
"""The closing report of a training run, made in the trainer's process while the rollout server still stands."""

from typing import Any

import httpx
from omegaconf import DictConfig

from aflow_env.config import AflowConfig
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import Report, report
from aflow_env.training.rollout.policy import RolloutPolicy
from aflow_env.training.rollout.weights_version import version


async def final_report(config: AflowConfig, run: DictConfig, server: Any, tokenizer: Any, steps: int) -> Report:
    """Choose, validate and test the best workflow of the run; writes it to `run_dir/best`.

    `steps`: the training steps behind the weights that the server has. Raises BudgetExhausted when not even the start
    workflow can be scored.
    """
    async with httpx.AsyncClient(timeout=600.0) as http:
        rollout = run.actor_rollout_ref.rollout
        policy = RolloutPolicy(
            server,
            tokenizer,
            config,
            {},
            "final",
            rollout.prompt_length,
            rollout.temperature,
            http,
            template=run.data.apply_chat_template_kwargs,
        )
        assembly = await Assembly.open(config, generate=policy.complete)
        try:
            return await report(assembly, version(config, steps))
        finally:
            await assembly.aclose()
