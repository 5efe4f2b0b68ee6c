# SPDX-License-Identifier: Apache-2.0
"""The loop: select a node, propose a change, gate it, evaluate it, record it. One call of `play` is one session.

Whatever is random in a round is drawn from (seed, how many rounds came before), never from the history, and what a
round may know is fixed by `in_flight` alone (flight.py), so a session that was killed goes on exactly as the
uninterrupted one would. Nothing here knows who proposes or predicts: a trained policy behind verl's rollout server,
an LLM, or a uniform draw.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.racing import race
from aflow_env.evaluation.results import Evaluation, Outcome
from aflow_env.search.expansion import Change, Changer, Duplicate, Implement, Place, draw
from aflow_env.search.flight import Flight, cancel_all, restore
from aflow_env.search.proposal import FailedCase, Prediction, Proposer, QPredictor, State
from aflow_env.search.q import shrink
from aflow_env.search.selection import Selection, bar, select
from aflow_env.search.session import Listener, SearchProblem, SearchSession, Turn, session_seed
from aflow_env.search.stopping import INTERRUPTED, Stopper
from aflow_env.search.tree import Tree
from aflow_env.soon import soon
from aflow_env.store.node_rows import JSON, Node, Rejection
from aflow_env.store.shared import RunStore
from aflow_env.store.store import SessionKey
from aflow_env.tasks.problem import Problem, Task
from aflow_env.workflow.program import Workflow

__all__ = [
    "OVER_BUDGET",
    "Duplicate",
    "Implement",
    "Listener",
    "Search",
    "SearchProblem",
    "SearchSession",
    "Turn",
    "session_seed",
]

OVER_BUDGET = "budget: "
"""What `SearchSession.stopped` begins with where the budget ended the session; the limit and what is spent follow."""


@dataclass(frozen=True)
class Search:
    """The parts of a search that sessions share. `predictor` may be None only when w = 0."""

    config: AflowConfig
    task: Task
    problems: Sequence[Problem]
    evaluator: Evaluator
    store: RunStore
    proposer: Proposer
    implement: Implement
    predictor: QPredictor | None = None
    version: str = ""
    """Names the executor's weights where they change (executor.kind=policy in training): scores are theirs alone."""

    def __post_init__(self) -> None:
        if self.config.rl_weight > 0 and self.predictor is None:
            raise ConfigError(
                f"rl_weight={self.config.rl_weight} needs a policy that states its predictions, and there is none: "
                "name a policy (policy.base_url=...), train one with verl, or set rl_weight=0 for stock AFlow "
                "selection"
            )

    async def play(
        self, problem: SearchProblem, listener: Listener | None = None, interrupt: asyncio.Event | None = None
    ) -> SearchSession:
        """Play one session of `config.rounds` expansions; `listener` is called with every recorded round.

        What the store already holds of this session is not played again. Once `interrupt` is set no round begins, and
        those in flight are finished. Raises InfrastructureError when an evaluation could not be scored; an exhausted
        budget ends the session cleanly.
        """
        session, stopper = SearchSession(), Stopper(self.config)
        tree, rounds, places = session.tree, self.config.rounds, self.config.in_flight
        flights: deque[Flight] = deque()
        try:
            stored = await soon(self.store.open_session(problem.key, self.task.spec.name))
            flights.extend(restore(tree, stored.ended or [await self._start(problem)], places))
            for node in tree:
                stopper.record(node)
            while tree.played + len(flights) < rounds:
                if len(flights) == places:
                    stopper.record(await self._land(session, problem, flights, listener))
                if reason := INTERRUPTED if interrupt and interrupt.is_set() else stopper.why(tree):
                    session.stopped = reason
                    break
                flights.append(await self._begin(session, problem, flights))
            while flights:
                await self._land(session, problem, flights, listener)
        except BudgetExhausted as limit:
            session.stopped = f"{OVER_BUDGET}{limit}"
            await cancel_all(tree, flights, cut=False)
        except BaseException:
            await cancel_all(tree, flights, cut=True)
            raise
        await soon(self.store.set_state(problem.key, {"stopped": session.stopped}))
        return session

    async def _start(self, problem: SearchProblem) -> Node:
        start = Node(1, None, problem.start, await self._evaluate(problem.start), "start")
        await soon(self.store.record(problem.key, start))
        return start

    async def _begin(self, session: SearchSession, problem: SearchProblem, flights: Sequence[Flight]) -> Flight:
        """Select a node and send its expansion on its way."""
        tree = session.tree
        rng = np.random.default_rng([problem.seed, tree.played + len(flights)])
        unseen = flights[0].round if flights else None
        selection, predictions = await self._select(tree, problem.key, unseen, rng)
        parent = tree.node(selection.round)
        state = await self.state(tree, parent, problem.key, unseen)
        digest: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        round_ = tree.begin(parent.round)
        place = Place(round_, parent, tree, tuple(flights), digest, self._rival(tree))
        seed = int(rng.integers(2**31))
        turn = asyncio.ensure_future(self._expand(place, selection, state, predictions.get(parent.round), seed))
        return Flight(place.round, parent.round, digest, turn)

    async def _land(
        self, session: SearchSession, problem: SearchProblem, flights: deque[Flight], listener: Listener | None
    ) -> Node | Rejection:
        """Wait for the oldest expansion in flight, and record it: on disk first, then in the tree."""
        turn = await flights[0].turn
        ended = turn.ended if isinstance(turn, Turn) else turn
        if isinstance(turn, Turn):
            await soon(self.store.record(problem.key, ended, _payload(turn)))
        session.tree.record(ended)
        flights.popleft()
        if isinstance(turn, Turn):
            session.turns.append(turn)
            if listener:
                listener(session, turn)
        return ended

    async def _expand(
        self, place: Place, selection: Selection, state: State, prediction: Prediction | None, seed: int
    ) -> Turn:
        """Propose, implement, gate and evaluate."""
        config = self.config
        change = Changer(self.task.spec, config.form, self.implement)
        try:
            drawn = await draw(self.proposer, change, place, state, seed, config.redraws)
        finally:
            if not place.digest.done():
                place.digest.set_result(None)
        ended = (
            await self._node(place, drawn.ended, drawn.reply.text) if isinstance(drawn.ended, Change) else drawn.ended
        )
        return Turn(state, selection, drawn.reply, ended, prediction, drawn.duplicate)

    async def _node(self, place: Place, change: Change, text: str) -> Node:
        evaluation = await self._evaluate(change.workflow, place.rival)
        return Node(place.round, place.parent.round, change.workflow, evaluation, change.modification, text)

    async def _select(
        self, tree: Tree, key: SessionKey, unseen: int | None, rng: Generator
    ) -> tuple[Selection, dict[int, Prediction]]:
        """Which node to expand, and the policy's prediction for each node."""
        rounds, means, visits = tree.arrays()
        predictions: dict[int, Prediction] = {}
        q = None
        if self.predictor is not None:
            nodes = [tree.node(round_) for round_ in rounds.tolist()]
            states = await asyncio.gather(*(self.state(tree, node, key, unseen) for node in nodes))
            predictions = dict(zip(rounds.tolist(), await self.predictor.predict(states), strict=True))
            realised = {round_: [child.score for child in tree.children(round_)] for round_ in predictions}
            q = np.array([shrink(prediction.q, realised[round_]) for round_, prediction in predictions.items()])
        rule, w = self.config.selection, self.config.rl_weight
        return select(rounds=rounds, means=means, visits=visits, q=q, w=w, config=rule, rng=rng), predictions

    def _rival(self, tree: Tree) -> tuple[Node, float] | None:
        """Whom a new workflow is raced against, and by how much that one may be better."""
        racing = self.config.racing
        if not racing.enabled:
            return None
        if racing.against == "best":
            return tree.best(), 0.0
        found = bar(*tree.arrays(), self.config.selection)
        return (tree.node(found[0]), found[1]) if found else None

    async def _evaluate(self, workflow: Workflow, rival: tuple[Node, float] | None = None) -> Evaluation:
        """On all problems; with a rival only until it is surely worse than that one, by more than it may be."""
        config, problems, version = self.config, self.problems, self.version
        if rival is None:
            return await self.evaluator.evaluate(workflow, problems, config.repeats, version)
        incumbent, slack = rival[0].evaluation, rival[1]
        rule, repeats, seed = config.racing, config.repeats, config.seed
        return await race(self.evaluator, workflow, problems, repeats, incumbent, rule, seed, version, slack)

    async def state(self, tree: Tree, node: Node, key: SessionKey, unseen: int | None = None) -> State:
        """What a proposer may know of this node: its own past, and that of the same workflow in earlier steps.

        Rounds of this session from `unseen` on are in flight: nothing of them is known.
        """
        config, evaluation, spec = self.config, node.evaluation, self.task.spec
        experience = await soon(self.store.experience(spec.name, node.digest, key, config.experience_entries, unseen))
        failures = self._failures(node, tree.visits(node.round))
        return State(node.workflow, spec, node.score, evaluation.n, tuple(experience), failures)

    def _failures(self, node: Node, visits: int) -> tuple[FailedCase, ...]:
        """Some of the problems that it got wrong, drawn by workflow and visits: others each time it is expanded."""
        if not self.config.failed_cases:
            return ()
        found = {each.problem_id: each for each in node.evaluation.results if each.outcome == Outcome.WRONG}
        rng = np.random.default_rng([int(node.digest, 16), visits])
        wrong, count = list(found), min(self.config.failed_cases, len(found))
        chosen = {wrong[place] for place in rng.choice(len(wrong), count, replace=False)} if wrong else set()
        return tuple(
            FailedCase(problem.prompt, problem.answer, found[problem.id].answer)
            for problem in self.problems
            if problem.id in chosen
        )


def _payload(turn: Turn) -> JSON:
    """What is stored beside a round: Q_theta of its parent."""
    return None if turn.prediction is None else {"q": turn.prediction.q}
