# SPDX-License-Identifier: Apache-2.0
"""The plain data of a session: its start, its turns, its tree, its seed, and the reasons to end it.

It ends although rounds are left when it has converged as in AFlow, or at a limit of `stop`. All reasons but time and
the user's interrupt depend on the recorded rounds alone, so a resumed search stops at the same round. Cost and tokens
are those of the evaluations of the session's nodes, cached or not. Proposals are not in them (`budget` limits the whole
run).

Convergence: y_i is the mean of the best top_k mean scores of rounds 0..i. The search has converged once y has not
changed for `consecutive` rounds in a row: no new round entered the top_k. This is AFlow's rule with its default z = 0.
Rounds without a score are absent.
"""

import hashlib
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.search.prediction.predict import ActionValue, Candidate
from aflow_env.search.proposals.proposal import Proposal, State
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection
from aflow_env.store.store import SessionKey
from aflow_env.workflow.program import Workflow

OVER_BUDGET = "budget: "
"""The beginning of `SearchSession.stopped` when the budget ended the session. The limit and the cost follow."""
INTERRUPTED = "interrupted"


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


@dataclass
class Convergence:
    """AFlow's rule on the rounds so far, which are recorded in order, in O(top_k) each."""

    top_k: int = 3
    consecutive: int = 5
    converged: bool = False
    _top: list[float] = field(default_factory=list)  # -mean, best first
    _y: float | None = None  # of the round before, with its sign turned
    _quiet: int = 0
    _found: bool = False

    def record(self, score: float) -> bool:
        """Add the next round's mean score. Return whether the search has converged, which takes top_k + 1 rounds."""
        insort(self._top, -score)
        enough = len(self._top) > self.top_k
        del self._top[self.top_k :]
        y = float(np.mean(self._top))
        self._quiet = self._quiet + 1 if y == self._y else 0
        self._y = y
        self._found |= self._quiet >= self.consecutive
        self.converged = self._found and enough
        return self.converged


@dataclass
class Stopper:
    """The rules of a config that stop a search. Its clock starts when it is made."""

    config: AflowConfig
    _began: float = field(default_factory=time.monotonic)
    _usd: float = 0.0
    _tokens: int = 0
    _rule: Convergence = field(init=False)

    def __post_init__(self) -> None:
        rule = self.config.convergence
        self._rule = Convergence(rule.top_k, rule.consecutive_rounds or 0)

    def record(self, ended: Node | Rejection) -> None:
        """Count a round that ended. Rounds come in order."""
        if isinstance(ended, Node):
            self._usd += ended.evaluation.cost_usd
            self._tokens += ended.evaluation.input_tokens + ended.evaluation.output_tokens
            if self.config.convergence.consecutive_rounds:
                self._rule.record(ended.score)

    def why(self, tree: Tree, interrupted: bool = False) -> str:
        """Return the reason to begin no more rounds; "" to go on."""
        if interrupted:
            return INTERRUPTED
        if self._rule.converged:
            return "converged"
        found = {
            "score": ("score", 0.0 if self.config.stop.score is None else tree.best().score),
            "cost": ("usd", self._usd),
            "tokens": ("tokens", self._tokens),
            "time": ("seconds", time.monotonic() - self._began),
        }
        for name, (key, value) in found.items():
            limit = getattr(self.config.stop, key)
            if limit is not None and value >= limit:
                return f"{name}: stop.{key}={limit} is reached"
        return ""
