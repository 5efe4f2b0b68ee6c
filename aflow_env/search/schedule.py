# SPDX-License-Identifier: Apache-2.0
"""How much weight Q gets in a selection, w_t in [0, rl_weight]. Pure.

    constant   w_t = w
    linear     w_t = w * min(1, t / ramp)       t: training steps that ended; without a trainer, rounds that began
    skill      w_t = w * clip(skill, 0, 1)      skill = 1 - mean (Q - y)^2 / variance of y

`skill` is measured on expansions that have ended: Q as it steered, with n0 and everything that was realised by then,
against y, the score of the child that came, which nobody knew. They are those of the latest training steps and those of
the session itself. Below `FEWEST` of them nothing is proved and w_t = 0, so the search begins as stock AFlow. The
variance of y is the error of the best constant in hindsight, which no predictor could have named: the proof is a hard
one, and a Q that only knows the level of the scores never passes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aflow_env.config import AflowConfig
from aflow_env.search.value import skill

FEWEST = 16
"""Expansions; fewer prove nothing."""
Proof = tuple[float, float]
"""(Q that steered, score of the child that came)."""


@dataclass(frozen=True)
class Progress:
    """What a session starts from: training steps that ended (None: no trainer), and the proofs that they left."""

    steps: int | None = None
    proofs: tuple[Proof, ...] = ()


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
            return config.rl_weight * proved([*progress.proofs, *proofs])


def proved(proofs: Sequence[Proof]) -> float:
    """The skill of these beliefs, clipped to [0, 1]; 0 where they are too few or what came was always the same."""
    if len(proofs) < FEWEST:
        return 0.0
    found = skill(*zip(*proofs, strict=True))
    return min(max(found, 0.0), 1.0) if found == found else 0.0
