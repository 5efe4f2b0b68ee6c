# SPDX-License-Identifier: Apache-2.0
"""Judge Q on edits that nothing was trained on: those of validation sessions.

The trainer asks after every weight sync, about all edits that validation sessions have evaluated so far. So early and
late weights are judged by the same edits. The surrogate is fitted on the evaluations of training sessions and judged by
the same edits. `decisions` measures the effect of Q in the latest validation.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from omegaconf import DictConfig

from aflow_env.config import AflowConfig
from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.prediction.q import calibration, within_parents
from aflow_env.search.prediction.surrogate import fit, observation, tokens
from aflow_env.search.proposals.proposal import State
from aflow_env.store.database import ReadOnlyStore, Reads
from aflow_env.store.experience import StoredAction, evaluated, validated
from aflow_env.training.rollout.policy import RolloutPolicy
from aflow_env.training.trainer.metrics import defined
from aflow_env.workflow.program import TaskSpec

HELD_OUT = "aflow/q_held_out/"
AFTER = 2**62
"""A step after all training steps, so that the surrogate learns from all of them."""
MOST = 128
"""Edits to ask about, the earliest first, since they vary most."""


@asynccontextmanager
async def rollout_policy(
    config: AflowConfig, run: DictConfig, server: Any, tokenizer: Any
) -> AsyncIterator[RolloutPolicy]:
    """Yield the rollout server's policy in the trainer's process."""
    rollout = run.actor_rollout_ref.rollout
    async with httpx.AsyncClient(timeout=600.0) as http:
        yield RolloutPolicy(
            server=server,
            tokenizer=tokenizer,
            config=config,
            sampling={},
            request_id="trainer",
            prompt_length=rollout.prompt_length,
            temperature=rollout.temperature,
            http=http,
            template=run.data.apply_chat_template_kwargs,
        )


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
        async with rollout_policy(config, run, server, tokenizer) as policy:
            began = time.monotonic()
            values = await policy.values([question(action, spec) for action in actions])
            seconds = time.monotonic() - began
        surrogate = fit(list(map(observation, evaluated(store, spec.name, AFTER))), config.q.fewest)
        ridge = surrogate.values([tokens(action.child) for action in actions]) if surrogate else None
        chosen = decisions(store, spec.name)
    return {f"{HELD_OUT}seconds": seconds, **chosen, **judged(actions, [value.q for value in values], ridge)}


def question(action: StoredAction, spec: TaskSpec) -> tuple[State, Candidate]:
    """Return the state and the edit of a stored action, as its search had them."""
    return State(action.parent, spec, action.before, action.n), Candidate(action.text, action.child)


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

    Rounds without a choice are left out.
    """
    rows = store.read(
        "SELECT coalesce(json_extract(payload, '$.changed'), 0), json_extract(payload, '$.q'), "
        "json_extract(payload, '$.q_mean') FROM nodes WHERE task = ? AND session LIKE 'validate/%' AND step = (SELECT "
        "max(step) FROM nodes WHERE session LIKE 'validate/%') AND json_extract(payload, '$.open') > 1",
        (task,),
    )
    gains = [float(str(q)) - float(str(mean)) for _, q, mean in rows if q is not None and mean is not None]
    shares = [float(str(changed)) for changed, _, _ in rows]
    found = {"decision_share": shares, "chosen_over_mean": gains}
    return {f"{HELD_OUT}{name}": float(np.mean(values)) for name, values in found.items() if values}
