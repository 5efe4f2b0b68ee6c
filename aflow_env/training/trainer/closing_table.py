# SPDX-License-Identifier: Apache-2.0
"""The closing report of a training, made in the trainer's process while the rollout server still runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig

from aflow_env.config import AflowConfig
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import Report, report
from aflow_env.training.rollout.weights_version import version
from aflow_env.training.trainer.held_out import HELD_OUT, rollout_policy

RANKS = 0.3
"""The rank correlation among a workflow's edits below which the closing line calls Q too weak to guide."""


async def final_report(
    config: AflowConfig, run: DictConfig, server: Any, tokenizer: Any, steps: int, q: Mapping[str, float]
) -> Report:
    """Choose, validate and test the best workflow of the run, and write it to `run_dir/best`.

    `steps`: training steps of the server's weights. `q`: metrics of Q on held-out edits. Raises BudgetExhausted when
    not even the start workflow can be scored.
    """
    async with rollout_policy(config, run, server, tokenizer) as policy:
        assembly = await Assembly.open(config, generate=policy.complete)
        try:
            found = await report(assembly, version(config, steps))
        finally:
            await assembly.aclose()
    return replace(found, text=f"{found.text}{held_out_line(q)}") if config.q.rows else found


def held_out_line(q: Mapping[str, float]) -> str:
    """Return one line on how well the trained policy predicts edits of validation sessions, beside the surrogate."""
    within = q.get(f"{HELD_OUT}within")
    if within is None:
        return "Q: not judged, since no validation session has two edits of one workflow with different scores.\n"
    texts = {
        "surrogate_within": "the surrogate {:.2f}",
        "skill": "skill {:.2f} against a constant",
        "skill_over_surrogate": "{:.2f} against the surrogate",
    }
    figures = [f"Spearman {within:.2f} among the {q[f'{HELD_OUT}n']:.0f} held-out edits"]
    figures += [text.format(q[HELD_OUT + name]) for name, text in texts.items() if HELD_OUT + name in q]
    weak = f" ranks too little to guide (Spearman {within:.2f} < {RANKS})" if within < RANKS else ""
    return f"Q{weak}: {', '.join(figures)}.\n"
