# SPDX-License-Identifier: Apache-2.0
"""What a session is made of, as plain data: where it starts, its turns, its tree, and the seed of its draws."""

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


@dataclass(frozen=True)
class SearchProblem:
    """What a session starts from: its name in the store, the seed of its draws, and the start workflow."""

    key: SessionKey
    seed: int
    start: Workflow


@dataclass(frozen=True)
class Choice:
    """How a round's edit was chosen: among `open` pairs with the weight `w`, of the node of round `round`.

    `ucb` is that node's. `changed` says that the same draw with w = 0 picks another pair. `q_mean` is the mean
    prediction of the open pairs, None where they were not predicted. `evaluations` is how many the predictor rests on,
    where it says so. With `abstained` it predicts nothing, and w is 0.
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
    """One round as it was played: what was chosen, said, and what came of it.

    `ended` is a Rejection where the action was not run; `duplicate` marks the rejection of a well-formed edit.
    `prediction` is Q of the state and the `candidate`, made before the candidate was run; None when nobody was asked.
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
        """What Q of the action should have said: the score that came of it, or None where it was not run."""
        return self.node.score if self.node else None

    @property
    def node(self) -> Node | None:
        """The node that came of it, or None."""
        return self.ended if isinstance(self.ended, Node) else None


@dataclass
class SearchSession:
    """A search as far as it went: the tree, the turns played by this process, and why it stopped."""

    tree: Tree = field(default_factory=Tree)
    turns: list[Turn] = field(default_factory=list)
    stopped: str = "rounds"


Listener = Callable[[SearchSession, Turn], None]


def session_summary(session: SearchSession) -> dict[str, float]:
    """Numbers of one session, for the reward manager's extra info and the trainer's metrics."""
    nodes = list(session.tree)
    start, best = session.tree.node(1).score, session.tree.best().score
    evaluations = [node.evaluation for node in nodes]
    outcomes: Counter[str] = Counter()
    for evaluation in evaluations:
        outcomes.update(evaluation.outcomes)
    turns = session.turns
    results = sum(len(evaluation.results) for evaluation in evaluations)
    summary = {
        "start_score": start,
        "best_score": best,
        "gain": best - start,
        "turns": float(len(turns)),
        "valid": float(sum(turn.node is not None or turn.duplicate for turn in turns)),
        "duplicates": float(sum(turn.duplicate for turn in turns)),
        "cost_usd": sum(evaluation.spent_usd for evaluation in evaluations),
        "unpriced": float(sum(evaluation.unpriced for evaluation in evaluations)),
        "tokens": float(sum(evaluation.input_tokens + evaluation.output_tokens for evaluation in evaluations)),
        "results": float(results),
        "cached": float(sum(evaluation.cache_hits for evaluation in evaluations)),
        "ucb": fmean(turn.choice.ucb for turn in turns) if turns else 0.0,
        "nodes": float(len(nodes)),
    }
    return summary | {f"outcome_{name}": float(count) for name, count in outcomes.items()}


def session_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable: the same parts, the same seed, on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
