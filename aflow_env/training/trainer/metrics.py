# SPDX-License-Identifier: Apache-2.0
"""The `aflow/*` metrics of a training step, from the fields that its rows carry. Pure: rows in, numbers out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.search.prediction.q import calibration, within_parents

Fields = dict[str, Any]
REPORTED = ("start_score", "best_score", "gain", "turns", "valid", "duplicates", "cost_usd", "tokens", "nodes")
"""Figures of a session that verl averages over a validation, beside the outcomes."""


def step_metrics(
    fields: Sequence[Fields], padding: Sequence[bool], config: AflowConfig, sessions: int
) -> dict[str, float]:
    """Return the metrics of a step in which so many `sessions` were planned; those without rows failed."""
    rows = [row for row, pad in zip(fields, padding, strict=True) if not pad]
    played = [row["session"] for row in rows if row.get("session")]
    metrics = {
        "aflow/rl_weight": config.rl_weight,
        "aflow/sessions": float(len(played)),
        "aflow/failed_sessions": float(sessions - len(played)),
    }
    return metrics | session_metrics(played) | q_metrics(played)


def session_metrics(sessions: Sequence[Fields]) -> dict[str, float]:
    """Return means of scores over sessions, rates as shares of all turns or results, sums of cost and tokens.

    The cost is left out where a call has no known price.
    """
    if not sessions:
        return {}

    def total(name: str) -> float:
        return float(sum(session.get(name, 0.0) for session in sessions))

    count, turns, results = len(sessions), max(total("turns"), 1.0), max(total("results"), 1.0)
    outcomes = sorted({name for session in sessions for name in session if name.startswith("outcome_")})
    cost = {} if total("unpriced") else {"aflow/cost_usd": total("cost_usd")}
    return {
        **{f"aflow/{name}": total(name) / count for name in ("start_score", "best_score", "gain", "nodes")},
        **{f"aflow/outcome/{name.removeprefix('outcome_')}": total(name) / results for name in outcomes},
        **cost,
        "aflow/episode_return": total("return") / count,
        "aflow/round_seconds": total("seconds") / turns,
        "aflow/ucb_mean": total("ucb") / count,
        "aflow/valid_rate": total("valid") / turns,
        "aflow/duplicate_rate": total("duplicates") / turns,
        "aflow/cache_hit_rate": total("cached") / results,
        "aflow/tokens": total("tokens"),
    }


def extra_info(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a session that verl averages over a validation, without a cost that is unknown."""
    known = set(REPORTED) - ({"cost_usd"} if summary["unpriced"] else set())
    return {name: value for name, value in summary.items() if name in known or name.startswith("outcome_")}


def q_metrics(sessions: Sequence[Fields]) -> dict[str, float]:
    """Judge Q_theta on the step's edits, by predictions from before any of them was trained on."""
    made = [(session["seed"], each) for session in sessions for each in session["predictions"]]
    if not made:
        return {}
    q, target, mass = (np.array([each[name] for _, each in made]) for name in ("q", "q_target", "mass"))
    judged = calibration(q, target)
    return defined(
        {
            "aflow/q_error": judged.brier,
            "aflow/q_error_constant": judged.brier_constant,
            "aflow/q_skill": judged.skill,
            "aflow/q_calibration_error": judged.calibration_error,
            "aflow/q_corr": judged.rank_correlation,
            "aflow/q_within": within_parents(q, target, [f"{seed} {each['parent']}" for seed, each in made]),
            "aflow/q_mean": float(q.mean()),
            "aflow/q_mass": float(mass.mean()),
            "aflow/q_target_mean": float(target.mean()),
            "aflow/predict_seconds": sum(session["predict_seconds"] for session in sessions) / len(sessions),
        }
    )


def defined(metrics: dict[str, float]) -> dict[str, float]:
    """Leave out undefined figures."""
    return {name: value for name, value in metrics.items() if not math.isnan(value)}
