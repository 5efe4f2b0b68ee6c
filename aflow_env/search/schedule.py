# SPDX-License-Identifier: Apache-2.0
"""How much weight Q gets in a selection, w_t in [0, rl_weight]. Pure.

    constant   w_t = w
    linear     w_t = w * min(1, t / ramp)       t: training steps that ended; without a trainer, rounds that began
    skill      w_t = w * clip(skill, 0, 1)      skill = 1 - sum (dQ - dy)^2 / sum dy^2

`skill` is measured on expansions that have ended: Q as it steered, with n0 and everything that was realised by then,
against y, the score of the child that came, which nobody knew. They are those of the latest training steps and those of
the session itself. dQ and dy are the distances to the means of the session: which session is a good one is no choice
that a selection has, so a Q that only knows the level of the scores, its session's included, proves nothing. Below
`FEWEST` expansions, not counting one of each session for its mean, w_t = 0, so the search begins as stock AFlow. The
mean of y is the best constant in hindsight, which no predictor could have named: the proof is a hard one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aflow_env.config import AflowConfig

FEWEST = 16
"""Expansions beyond the first of their session; fewer prove nothing."""
Proof = tuple[float, float]
"""(Q that steered, score of the child that came)."""


@dataclass(frozen=True)
class Progress:
    """What a session starts from: training steps that ended (None: no trainer), and their sessions' proofs."""

    steps: int | None = None
    proofs: tuple[tuple[Proof, ...], ...] = ()


BEGINNING = Progress()


def weight(config: AflowConfig, progress: Progress, rounds: int, proofs: Sequence[Proof] = ()) -> float:
    """w_t before an expansion; `rounds` of this session began before it, and `proofs` are those of this session."""
    match config.rl_weight_schedule:
        case "constant":
            return config.rl_weight
        case "linear":
            ended = rounds if progress.steps is None else progress.steps
            return config.rl_weight * min(1.0, ended / config.rl_weight_ramp)
        case "skill":
            return config.rl_weight * proved([*progress.proofs, proofs])


def proved(sessions: Sequence[Sequence[Proof]]) -> float:
    """The skill of these beliefs, clipped to [0, 1]; 0 where they are few or what came was the same in each session."""
    several = [np.array(proofs) for proofs in sessions if len(proofs) > 1]
    if sum(len(proofs) - 1 for proofs in several) < FEWEST:
        return 0.0
    q, came = np.concatenate([proofs - proofs.mean(axis=0) for proofs in several]).T
    varied = float((came**2).sum())
    return min(max(1.0 - float(((q - came) ** 2).sum()) / varied, 0.0), 1.0) if varied > 1e-15 else 0.0
