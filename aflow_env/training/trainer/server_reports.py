# SPDX-License-Identifier: Apache-2.0
"""Reports that the trainer's process makes with the rollout server: Q on held-out edits, and the closing table.

Q is judged after every weight sync on edits that nothing was trained on: all that validation sessions have evaluated so
far. So early and late weights are judged by the same edits. The surrogate is fitted on the evaluations of training
sessions and judged by the same edits. `decisions` measures the effect of Q in the latest validation.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from omegaconf import DictConfig

from aflow_env.config import AflowConfig
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import Report, report
from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.prediction.q import calibration, within_parents
from aflow_env.search.prediction.surrogate import fit, observation, tokens
from aflow_env.search.proposals.proposal import State
from aflow_env.store.database import ReadOnlyStore, Reads
from aflow_env.store.experience import StoredAction, evaluated, validated
from aflow_env.training.rollout.policy import RolloutPolicy, weights_version
from aflow_env.training.trainer.metrics import defined
from aflow_env.workflow.program import TaskSpec

HELD_OUT = "aflow/q_held_out/"
AFTER = 2**62
"""A step after all training steps, so that the surrogate learns from all of them."""
MOST = 128
"""Edits to ask about, the earliest first, since they vary most."""
RANKS = 0.3
"""The rank correlation among a workflow's edits below which the closing line calls Q too weak to guide."""


@asynccontextmanager
async def rollout_policy(
    config: AflowConfig, run: DictConfig, server: Any, tokenizer: Any
) -> AsyncIterator[RolloutPolicy]:
    """Yield the rollout server's policy in the trainer's process."""
    rollout, template = run.actor_rollout_ref.rollout, run.data.apply_chat_template_kwargs
    async with httpx.AsyncClient(timeout=600.0) as http:
        yield RolloutPolicy(
            server, tokenizer, config, {}, "trainer", rollout.prompt_length, rollout.temperature, http, template
        )


async def final_report(
    config: AflowConfig, run: DictConfig, server: Any, tokenizer: Any, steps: int, q: Mapping[str, float]
) -> Report:
    """Choose, validate and test the best workflow of the run, and write it to `run_dir/best`.

    `steps`: training steps of the server's weights. `q`: metrics of Q on held-out edits. Raises BudgetExhausted when
    not even the start workflow can be scored.
    """
    async with (
        rollout_policy(config, run, server, tokenizer) as policy,
        aclosing(await Assembly.open(config, generate=policy.complete)) as assembly,
    ):
        found = await report(assembly, weights_version(config, steps))
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


async def held_out(
    config: AflowConfig, run: DictConfig, server: Any, tokenizer: Any, spec: TaskSpec
) -> dict[str, float]:
    """Return the metrics of Q by the server's weights; empty before the first validation."""
    file = Path(config.run_dir) / "run.sqlite"
    if not file.is_file():
        return {}
    with closing(ReadOnlyStore(file)) as store:
        actions = validated(store, spec.name, MOST)
        if not actions:
            return {}
        asked = [
            (State(action.parent, spec, action.before, action.n), Candidate(action.text, action.child))
            for action in actions
        ]
        async with rollout_policy(config, run, server, tokenizer) as policy:
            began = time.monotonic()
            values = await policy.values(asked)
            seconds = time.monotonic() - began
        surrogate = fit(list(map(observation, evaluated(store, spec.name, AFTER))), config.q.fewest)
        ridge = surrogate.values([tokens(action.child) for action in actions]) if surrogate else None
        chosen = decisions(store, spec.name)
    return {f"{HELD_OUT}seconds": seconds, **chosen, **judged(actions, [value.q for value in values], ridge)}


def judged(actions: Sequence[StoredAction], q: Sequence[float], ridge: Sequence[float] | None) -> dict[str, float]:
    """Return figures of Q, of the surrogate where it predicts, and of Q over the surrogate, without undefined ones."""
    scores, parents = [action.score for action in actions], [action.parent_digest for action in actions]
    found = calibration(q, scores)
    metrics = {
        "n": float(len(actions)),
        "within": within_parents(q, scores, parents),
        "skill": found.skill,
        "brier": found.brier,
        "corr": found.rank_correlation,
        "spread": float(np.std(q)),
    }
    if ridge is not None:
        other = calibration(ridge, scores)
        metrics["surrogate_within"] = within_parents(ridge, scores, parents)
        metrics["surrogate_skill"] = other.skill
        metrics["skill_over_surrogate"] = 1.0 - found.brier / other.brier if other.brier else float("nan")
    return defined({f"{HELD_OUT}{name}": value for name, value in metrics.items()})


def decisions(store: Reads, task: str) -> dict[str, float]:
    """Return the share of the latest validation's rounds that Q decided, and Q of the chosen edits over the open ones.

    Rounds without a choice are left out, and so are rounds after the checkpoint from which the run went on.
    """
    validation = "FROM nodes WHERE session LIKE 'validate/%' AND parent_digest IS NOT NULL"
    rows = store.read(
        "SELECT coalesce(json_extract(payload, '$.changed'), 0), json_extract(payload, '$.q') - json_extract(payload, "
        f"'$.q_mean') {validation} AND task = ? AND step = (SELECT max(step) {validation}) "
        "AND json_extract(payload, '$.open') > 1",
        (task,),
    )
    gains = [gain for _, gain in rows if gain is not None]
    found = {"decision_share": [changed for changed, _ in rows], "chosen_over_mean": gains}
    return {f"{HELD_OUT}{name}": float(np.mean(values)) for name, values in found.items() if values}
