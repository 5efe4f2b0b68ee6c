# SPDX-License-Identifier: Apache-2.0
"""The loop: select a node, propose a change, gate it, evaluate it, tell everyone. One call of `play` is one session.

Whatever is random in a round is drawn from (seed, round), never from the history, so a session that was killed after
round k and is told its k rounds again goes on exactly as the uninterrupted one would. Nothing here knows who proposes
or who believes: a trained policy behind verl's rollout server, an LLM, or a uniform draw.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError, WorkflowError
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.results import Evaluation, Outcome
from aflow_env.search.convergence import converged
from aflow_env.search.proposal import Belief, Believer, Failure, Proposer, Reply, State
from aflow_env.search.selection import Selection, select
from aflow_env.search.store import SessionKey, Store
from aflow_env.search.tree import Node, Rejection, Tree
from aflow_env.search.value import shrink
from aflow_env.tasks.base import Problem, Task
from aflow_env.workflow.edits import Edit, NoChange, parse_edit
from aflow_env.workflow.gate import check
from aflow_env.workflow.implement import Modification, parse_modification, to_program
from aflow_env.workflow.program import TaskSpec, Workflow

Implement = Callable[[Workflow, Edit, TaskSpec], Awaitable[Modification]]
"""Who turns an edit of a workflow into a program."""


class Duplicate(WorkflowError):
    """The change leads to a program that this parent already has as a child, or to the parent itself."""


@dataclass(frozen=True)
class SearchProblem:
    """What a session starts from: its name in the store, the seed of its draws, and the start workflow."""

    key: SessionKey
    seed: int
    start: Workflow


@dataclass(frozen=True)
class Turn:
    """One round as it was played: what was chosen, said, and what came of it.

    `ended` is a Rejection where the action was not run; `duplicate` marks the rejection of a well-formed edit.
    `belief` is what the policy believed of the parent when it was chosen; None when nobody was asked.
    """

    state: State
    selection: Selection
    reply: Reply
    ended: Node | Rejection
    belief: Belief | None = None
    duplicate: bool = False

    @property
    def node(self) -> Node | None:
        """The node that came of it, or None."""
        return self.ended if isinstance(self.ended, Node) else None


@dataclass
class Session:
    """A search as far as it went: the tree, the turns played by this process, and why it stopped."""

    tree: Tree = field(default_factory=Tree)
    turns: list[Turn] = field(default_factory=list)
    stopped: str = "rounds"

    def target(self, round_: int) -> float | None:
        """What Q of this node should have said: the score of its best evaluated child, or None without one."""
        return max((child.score for child in self.tree.children(round_)), default=None)


Listener = Callable[[Session, Turn], None]


@dataclass(frozen=True)
class Search:
    """The parts of a search that sessions share. `believer` may be None only when w = 0."""

    config: AflowConfig
    task: Task
    problems: Sequence[Problem]
    evaluator: Evaluator
    store: Store
    proposer: Proposer
    implement: Implement
    believer: Believer | None = None
    version: str = ""
    """Names the executor's weights where they change (executor.kind=policy in training):

    scores hold for those alone.
    """

    def __post_init__(self) -> None:
        if self.config.rl_weight > 0 and self.believer is None:
            raise ConfigError(
                f"rl_weight={self.config.rl_weight} needs a policy that states its beliefs, and there is none: "
                "name a policy (policy.base_url=...), train one with verl, or set rl_weight=0 for stock AFlow "
                "selection"
            )

    async def play(self, problem: SearchProblem, told: Listener | None = None) -> Session:
        """Play one session of `config.rounds` expansions; `told` hears of every round as it ends.

        What the store already holds of this session is not played again. Raises InfrastructureError when an evaluation
        could not be scored; an exhausted budget ends the session cleanly.
        """
        session = Session()
        tree, began = session.tree, time.monotonic()
        for ended in self.store.open_session(problem.key, self.task.spec.name).told:
            tree.tell(ended)
        try:
            if not len(tree):
                self._tell(session, problem, Node(1, None, problem.start, await self._evaluate(problem.start), "start"))
            while tree.played < self.config.rounds:
                if reason := self._stop(tree, time.monotonic() - began):
                    session.stopped = reason
                    break
                turn = await self._round(session, problem)
                session.turns.append(turn)
                if told:
                    told(session, turn)
        except BudgetExhausted as limit:
            session.stopped = f"budget: {limit}"
        self.store.set_state(problem.key, {"stopped": session.stopped})
        return session

    async def _round(self, session: Session, problem: SearchProblem) -> Turn:
        tree = session.tree
        rng = np.random.default_rng([problem.seed, tree.played])
        selection, beliefs = await self._select(tree, problem.key, rng)
        parent = tree.node(selection.round)
        state = self.state(parent, problem.key)
        round_ = tree.begin(parent.round)
        try:
            reply = await self.proposer.propose(state, seed=int(rng.integers(2**31)))
            ended, duplicate = await self._end(tree, parent, round_, reply.text)
        except BaseException:
            tree.cancel(round_)
            raise
        self._tell(session, problem, ended)
        return Turn(state, selection, reply, ended, beliefs.get(parent.round), duplicate)

    async def _end(self, tree: Tree, parent: Node, round_: int, text: str) -> tuple[Node | Rejection, bool]:
        """Implement, gate and evaluate a proposal: a node, or the rejection that tells the policy why not."""
        try:
            workflow, modification = await self._change(tree, parent, text)
        except WorkflowError as error:
            said = " ".join(text.split())[:120]
            return Rejection(round_, parent.round, said, text, str(error)), isinstance(error, (Duplicate, NoChange))
        return Node(round_, parent.round, workflow, await self._evaluate(workflow), modification, text), False

    async def _change(self, tree: Tree, parent: Node, text: str) -> tuple[Workflow, str]:
        """The changed program and AFlow's one-sentence "modification". Raises WorkflowError with the reason."""
        spec = self.task.spec
        if self.config.action == "code":
            change = parse_modification(text)
        else:
            edit = parse_edit(text)
            change = await self.implement(parent.workflow, edit, spec)
        workflow = to_program(change, spec)
        check(workflow, spec)
        if workflow.digest == parent.digest:
            raise Duplicate("the change leaves the workflow as it is")
        if tree.seen(workflow.digest, parent.round):
            raise Duplicate("the same change was tried from here before")
        return workflow, change.modification

    async def _select(self, tree: Tree, key: SessionKey, rng: Generator) -> tuple[Selection, dict[int, Belief]]:
        """Which node to expand, and what the policy believed of each node."""
        rounds, means, visits = tree.arrays()
        beliefs: dict[int, Belief] = {}
        q = None
        if self.believer is not None:
            states = [self.state(tree.node(int(round_)), key) for round_ in rounds]
            beliefs = dict(zip(rounds.tolist(), await self.believer.believe(states), strict=True))
            q = np.array([self._q(tree, round_, belief) for round_, belief in beliefs.items()])
        w, rule = self.config.rl_weight, self.config.selection
        return select(rounds=rounds, means=means, visits=visits, q=q, w=w, config=rule, rng=rng), beliefs

    def _q(self, tree: Tree, round_: int, belief: Belief) -> float:
        realised = [child.score for child in tree.children(round_)]
        return shrink(belief.expectation, realised, self.config.q.prior_strength)

    async def _evaluate(self, workflow: Workflow) -> Evaluation:
        return await self.evaluator.evaluate(workflow, self.problems, self.config.repeats, self.version)

    def _tell(self, session: Session, problem: SearchProblem, ended: Node | Rejection) -> None:
        """On disk first, then in the tree."""
        self.store.tell(problem.key, ended)
        session.tree.tell(ended)

    def _stop(self, tree: Tree, seconds: float) -> str:
        """Why to end here although rounds are left; "" to go on."""
        stop = self.config.stop
        if self.config.convergence.enabled and self._converged(tree):
            return "converged"
        if stop.score is not None and tree.best().score >= stop.score:
            return f"score: stop.score={stop.score} is reached"
        if stop.seconds is not None and seconds >= stop.seconds:
            return f"time: stop.seconds={stop.seconds} have passed"
        return ""

    def _converged(self, tree: Tree) -> bool:
        rule = self.config.convergence
        scores = [[node.score] for node in tree]
        return converged(scores, rule.top_k, rule.z, rule.consecutive_rounds)[0]

    def state(self, node: Node, key: SessionKey) -> State:
        """What a proposer may know of this node: its own past, and that of the same workflow in earlier steps."""
        config, evaluation = self.config, node.evaluation
        experience = self.store.experience(self.task.spec.name, node.digest, key, config.experience_entries)
        failures: list[Failure] = []
        if config.failed_cases:
            by_id = {problem.id: problem for problem in self.problems}
            wrong = [result for result in evaluation.results if result.outcome == Outcome.WRONG][: config.failed_cases]
            failures = [
                Failure(by_id[each.problem_id].prompt, by_id[each.problem_id].answer, each.answer) for each in wrong
            ]
        spec = self.task.spec
        return State(node.workflow, spec, node.score, evaluation.n, tuple(experience), tuple(failures))


def session_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable: the same parts, the same seed, on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
