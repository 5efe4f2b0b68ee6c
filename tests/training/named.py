# SPDX-License-Identifier: Apache-2.0
"""The figures that every training with a policy's Q logs."""

from aflow_env.report.wandb_runs import OfflineRun

NAMED = (
    *("aflow/q_error", "aflow/q_error_constant", "aflow/q_skill", "aflow/q_calibration_error", "aflow/q_corr"),
    *("aflow/q_mean", "aflow/q_mass"),
    *("aflow/anchor_group_size/mean", "aflow/anchor_group_size/max", "aflow/anchor_group_size/p50"),
    *("aflow/anchor_group_size/rows_1_1", "aflow/anchor_group_size/rows_3_4"),
    *("aflow/singleton_anchor_fraction", "aflow/singleton_row_fraction"),
    *("aflow/episode_groups_without_signal", "aflow/anchor_groups_without_signal"),
    *("aflow/advantage/mean", "aflow/advantage/abs_mean", "aflow/episode_return", "aflow/best_score", "aflow/gain"),
    *("aflow/valid_rate", "aflow/duplicate_rate", "aflow/outcome/correct", "aflow/outcome/wrong"),
    *("aflow/tokens", "aflow/cost_usd", "aflow/cache_hit_rate", "aflow/rl_weight", "aflow/ucb_mean"),
    *("aflow/sessions", "aflow/failed_sessions"),
)
"""What a run with q.kind=policy must have logged in at least one step; docs/training.md explains each."""


def never_logged(run: OfflineRun, names: tuple[str, ...] = NAMED) -> list[str]:
    """Return the names that no step of a run has logged."""
    logged = {name for row in run.history for name in row}
    return [name for name in names if name not in logged]
