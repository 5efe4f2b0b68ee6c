# SPDX-License-Identifier: Apache-2.0
"""What earlier training steps believed, and what came of it: the digits' temperature, and how far Q may steer.

Each training session leaves its beliefs with what came of them in the store (event `beliefs`); a session of step s
reads those of steps before s, so all sessions of a step agree, and a resumed run starts from what the killed one knew.
The temperature never enters a gradient: value rows are drawn from the policy's own distribution at temperature 1.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from aflow_env.search.belief import Proof, fit_temperature
from aflow_env.search.session import Session, Turn
from aflow_env.soon import soon
from aflow_env.store.shared import RunStore

WINDOW = 64
"""Sessions that the fit looks back on."""
FEWEST = 32
"""Beliefs; fewer say nothing about a temperature."""
LEAST = -100.0
"""Stands for the log-probability of a digit that is not among the server's top tokens."""


@dataclass(frozen=True)
class Held:
    """A belief and what came of it: the workflow, its own score, Q_theta, its mass, the best child's score, the digits.

    `digits` are the ten log-probabilities at temperature 1; empty where Q is not read off digits. `q` is what steered,
    Q_theta sharpened by data, and `came` the score of the child that this very expansion came to, None for none.
    """

    digest: str
    score: float
    belief: float
    mass: float
    target: float
    digits: tuple[float, ...]
    q: float | None = None
    came: float | None = None


def beliefs_held(session: Session) -> list[Held]:
    """One for each expansion of a node whose belief was asked for and whose best child is known."""
    held = [_held(session, turn) for turn in session.turns]
    return [each for each in held if each]


def _held(session: Session, turn: Turn) -> Held | None:
    target = session.target(turn.ended.parent) if turn.ended.parent else None
    if turn.belief is None or target is None:
        return None
    digits = tuple(max(float(value), LEAST) for value in getattr(turn.belief.payload, "log_probs", ()))
    state, belief = turn.state, turn.belief
    came = turn.node.score if turn.node else None
    return Held(state.workflow.digest, state.score, belief.expectation, belief.mass, target, digits, turn.q, came)


async def keep(store: RunStore, step: int, held: Sequence[Held]) -> None:
    """Note a training session's beliefs; `step` is the training step that it belongs to."""
    await soon(store.event("beliefs", {"step": step, "held": [asdict(each) for each in held]}))


async def recall(store: RunStore, before: int, sessions: int = WINDOW) -> list[list[Held]]:
    """The beliefs of the latest `sessions` sessions of steps before `before`, session by session, oldest first."""
    sql = "SELECT data FROM events WHERE kind = 'beliefs' AND json_extract(data, '$.step') < ? ORDER BY id DESC LIMIT ?"
    found = [json.loads(str(row[0])) for row in await soon(store.read(sql, (before, sessions)))]
    return [[Held(**each | {"digits": tuple(each["digits"])}) for each in data["held"]] for data in reversed(found)]


def temperature(sessions: Sequence[Sequence[Held]]) -> float:
    """The temperature that makes these beliefs best by squared error; 1 while there are few."""
    read = [each for held in sessions for each in held if each.digits]
    if len(read) < FEWEST:
        return 1.0
    return fit_temperature([each.digits for each in read], [each.target for each in read])


def proofs(sessions: Sequence[Sequence[Held]]) -> tuple[tuple[Proof, ...], ...]:
    """What is known of how well Q steered, session by session, for `rl_weight_schedule=skill`."""
    return tuple(
        tuple((each.q, each.came) for each in held if each.q is not None and each.came is not None) for held in sessions
    )
