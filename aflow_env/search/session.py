# SPDX-License-Identifier: Apache-2.0
"""The plain data of a session: its start, its turns, its tree and its seed."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

from aflow_env.search.prediction.predict import ActionValue, Candidate
from aflow_env.search.proposals.proposal import Proposal, State
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection
from aflow_env.store.store import SessionKey
from aflow_env.workflow.program import Workflow

OVER_BUDGET = "budget: "
"""The beginning of `SearchSession.stopped` when the budget ended the session. The limit and the cost follow."""


@dataclass(frozen=True)
class SearchProblem:
    """The start of a session: its key in the store, the seed of its draws, and the start workflow."""

    key: SessionKey
    seed: int
    start: Workflow


@dataclass(frozen=True)
class Choice:
    """The choice of a round's edit among `open` pairs, with the weight `w` for Q.

    `round` is the round of the node that is edited, and `ucb` that node's UCB. `changed`: the same draw with w = 0
    picks another pair. `q_mean` is the mean prediction of the open pairs, if they were predicted. `evaluations` is the
    number of evaluations behind the predictor, if it is fitted on any. `abstained`: it predicts nothing, and w is 0.
    """

    round: int
    ucb: float
    open: int = 1
    w: float = 0.0
    changed: bool = False
    q_mean: float | None = None
    evaluations: int | None = None
    abstained: bool = False


@dataclass(frozen=True)
class Turn:
    """One round: the state, the choice, the proposal and its result.

    `ended` is a Rejection when the edit was not run. `duplicate` marks the rejection of a well-formed edit.
    `prediction` is Q of the state and the `candidate`, made before the candidate was run, if there is a predictor.
    """

    state: State
    choice: Choice
    reply: Proposal
    ended: Node | Rejection
    candidate: Candidate | None = None
    prediction: ActionValue | None = None
    duplicate: bool = False

    @property
    def q_target(self) -> float | None:
        """The score of the edit, which Q is trained to predict; None when it was not run."""
        return self.node.score if self.node else None

    @property
    def node(self) -> Node | None:
        """The new node, if the edit was run."""
        return self.ended if isinstance(self.ended, Node) else None


@dataclass
class SearchSession:
    """A search so far: its tree, the turns played by this process, and the reason why it stopped."""

    tree: Tree = field(default_factory=Tree)
    turns: list[Turn] = field(default_factory=list)
    stopped: str = "rounds"


Listener = Callable[[SearchSession, Turn], None]


def session_summary(session: SearchSession) -> dict[str, float]:
    """Return the figures of a session, for the reward manager's extra info and the trainer's metrics."""
    start, best = session.tree.node(1).score, session.tree.best().score
    turns, evaluations = session.turns, [node.evaluation for node in session.tree]
    outcomes: Counter[str] = Counter()
    for evaluation in evaluations:
        outcomes.update(evaluation.outcomes)
    figures = {
        "start_score": start,
        "best_score": best,
        "gain": best - start,
        "turns": len(turns),
        "valid": sum(turn.node is not None or turn.duplicate for turn in turns),
        "duplicates": sum(turn.duplicate for turn in turns),
        "cost_usd": sum(evaluation.spent_usd for evaluation in evaluations),
        "unpriced": sum(evaluation.unpriced for evaluation in evaluations),
        "tokens": sum(evaluation.input_tokens + evaluation.output_tokens for evaluation in evaluations),
        "results": sum(len(evaluation.results) for evaluation in evaluations),
        "cached": sum(evaluation.cache_hits for evaluation in evaluations),
        "ucb": fmean(turn.choice.ucb for turn in turns) if turns else 0.0,
        "nodes": len(evaluations),
    }
    figures |= {f"outcome_{name}": count for name, count in outcomes.items()}
    return {name: float(value) for name, value in figures.items()}


def session_seed(*parts: object) -> int:
    """Return a 63-bit seed of printable parts, the same on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
