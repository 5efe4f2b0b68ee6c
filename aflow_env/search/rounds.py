# SPDX-License-Identifier: Apache-2.0
"""The loop: choose an edit of a node, evaluate it, record it. One call of `play` is one session.

With `lookahead.nodes=1` and `lookahead.edits=1` a round is AFlow's: select a node, then draw one edit of it
(expansion.py). Otherwise it chooses among open proposals (choosing.py).

A killed session resumes exactly as the uninterrupted one. The random draws of a round depend on the seed and the number
of earlier rounds alone, and `in_flight` alone decides which rounds it sees (expansion.py).
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.results import Evaluation
from aflow_env.llm.client import LLMClient
from aflow_env.search.choice.choosing import DUPLICATE, Chooser, Frontier, Picked, candidate_of
from aflow_env.search.choice.selection import select
from aflow_env.search.prediction.predict import Candidate, LearningPredictor, QPredictor, value
from aflow_env.search.proposals.expansion import Changer, Flight, Place, cancel_all, draw, in_short, restore
from aflow_env.search.proposals.proposal import Proposer, State, States
from aflow_env.search.session import OVER_BUDGET, Choice, Listener, SearchProblem, SearchSession, Stopper, Turn
from aflow_env.search.tree import Tree
from aflow_env.soon import soon
from aflow_env.store.node_rows import JSON, Node, Rejection
from aflow_env.store.shared import RunStore
from aflow_env.store.store import StoredSession
from aflow_env.tasks.problem import Problem, Task
from aflow_env.workflow.gate import Gate, check
from aflow_env.workflow.implement import Change
from aflow_env.workflow.program import Workflow


@dataclass(frozen=True, kw_only=True)
class Search:
    """The parts of a search that sessions share. `predictor` may be None only when w = 0."""

    config: AflowConfig
    task: Task
    problems: Sequence[Problem]
    evaluator: Evaluator
    store: RunStore
    proposer: Proposer
    implementer: LLMClient | None = None
    predictor: QPredictor | LearningPredictor | None = None
    gate: Gate = check
    version: str = ""
    """The executor's weights if they change (executor.kind=policy in training). Scores hold for one version."""

    def __post_init__(self) -> None:
        if self.config.rl_weight > 0 and self.predictor is None:
            raise ConfigError(
                f"rl_weight={self.config.rl_weight} needs a policy that states its predictions, and there is none: "
                "name a policy (policy.base_url=...), train one with verl, set q.kind=surrogate, or set rl_weight=0"
            )

    async def play(
        self, problem: SearchProblem, listener: Listener | None = None, interrupt: asyncio.Event | None = None
    ) -> SearchSession:
        """Play one session of `config.rounds` expansions, and call `listener` with every recorded round.

        Rounds of this session in the store are not played again. Once `interrupt` is set, no round begins, and rounds
        in flight end normally. An exhausted budget ends the session cleanly. Raises InfrastructureError when an
        evaluation could not be scored.
        """
        session, stopper = SearchSession(Tree(self.config.selection.cost_weight)), Stopper(self.config)
        tree, rounds, places = session.tree, self.config.rounds, self.config.in_flight
        flights: deque[Flight] = deque()
        try:
            stored = await soon(self.store.open_session(problem.key, self.task.spec.name))
            ended = stored.ended or (await self._start(problem),)
            flights.extend(restore(tree, ended, places))
            chooser = await self._chooser(problem, stored, ended)
            for node in tree:
                stopper.record(node)
            while tree.played + len(flights) < rounds:
                if len(flights) == places:
                    stopper.record(await self._land(problem, session, flights, listener))
                if reason := stopper.why(tree, interrupt is not None and interrupt.is_set()):
                    session.stopped = reason
                    break
                flights.append(await self._begin(problem, tree, chooser, flights))
            while flights:
                await self._land(problem, session, flights, listener)
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

    async def _chooser(
        self, problem: SearchProblem, stored: StoredSession, ended: Sequence[Node | Rejection]
    ) -> Chooser:
        config, spec = self.config, self.task.spec
        taken = [each.digest for each in ended if isinstance(each, Node)]
        learning = isinstance(self.predictor, LearningPredictor)
        return Chooser(
            config=config,
            states=States(config, spec, self.problems, self.store, problem.key),
            proposer=self.proposer,
            change=Changer(config, spec, self.implementer, self.gate),
            predictor=self.predictor,
            frontier=Frontier.restored(stored.proposals, len(ended) - 1, taken),
            seed=problem.seed,
            earlier=await soon(self.store.evaluated(spec.name, problem.key.step)) if learning else (),
        )

    async def _begin(self, problem: SearchProblem, tree: Tree, chooser: Chooser, flights: Sequence[Flight]) -> Flight:
        """Choose a node or an open proposal, and start its expansion."""
        begun = tree.played + len(flights)
        rng = np.random.default_rng([problem.seed, begun])
        unseen = flights[0].round if flights else None
        if self.config.lookahead.chooses:
            picked = await chooser.pick(tree, begun, unseen, rng)
            place = self._place(tree, picked.choice.round, flights)
            place.digest.set_result(picked.proposal.digest if picked.proposal else None)
            turn = self._run(place, picked, chooser)
        else:
            rounds, means, visits = tree.arrays()
            selection = select(rounds=rounds, means=means, visits=visits, config=self.config.selection, rng=rng)
            choice = Choice(selection.round, selection.ucb[selection.rounds.index(selection.round)])
            state = await chooser.states.of(tree, tree.node(choice.round), unseen)
            place = self._place(tree, choice.round, flights)
            predictor, _ = chooser.predictor_at(tree)
            turn = self._expand(place, choice, state, int(rng.integers(2**31)), chooser.change, predictor)
        return Flight(place.round, place.parent.round, place.digest, asyncio.ensure_future(turn))

    def _place(self, tree: Tree, parent: int, flights: Iterable[Flight]) -> Place:
        digest = asyncio.get_running_loop().create_future()
        return Place(tree.begin(parent), tree.node(parent), tree, tuple(flights), digest)

    async def _land(
        self, problem: SearchProblem, session: SearchSession, flights: deque[Flight], listener: Listener | None
    ) -> Node | Rejection:
        """Wait for the oldest expansion in flight, and record it on disk, then in the tree."""
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
        self, place: Place, choice: Choice, state: State, seed: int, change: Changer, predictor: QPredictor | None
    ) -> Turn:
        """Propose, implement, gate, predict and evaluate."""
        try:
            reply, ended, duplicate = await draw(self.proposer, change, place, state, seed, self.config.redraws)
        finally:
            if not place.digest.done():
                place.digest.set_result(None)
        if isinstance(ended, Rejection):
            return Turn(state, choice, reply, ended, duplicate=duplicate)
        candidate = Candidate(reply.text, ended.workflow)
        prediction = await value(predictor, state, candidate)
        node = await self._node(place, ended, candidate.text)
        return Turn(state, choice, reply, node, candidate, prediction)

    async def _run(self, place: Place, picked: Picked, chooser: Chooser) -> Turn:
        """Evaluate the chosen proposal, if one was open."""
        proposal = picked.proposal or chooser.frontier.last(place.parent.round)
        reply = chooser.frontier.reply(proposal)
        if picked.proposal is None:
            short = in_short(proposal.text)
            ended = Rejection(place.round, place.parent.round, short, proposal.text, proposal.reason)
            return Turn(picked.state, picked.choice, reply, ended, duplicate=proposal.reason == DUPLICATE)
        candidate = candidate_of(proposal)
        node = await self._node(place, Change(candidate.workflow, proposal.modification), candidate.text)
        return Turn(picked.state, picked.choice, reply, node, candidate, picked.prediction)

    async def _node(self, place: Place, change: Change, text: str) -> Node:
        evaluation = await self._evaluate(change.workflow)
        return Node(place.round, place.parent.round, change.workflow, evaluation, change.modification, text)

    async def _evaluate(self, workflow: Workflow) -> Evaluation:
        return await self.evaluator.evaluate(workflow, self.problems, self.config.repeats, self.version)


def _payload(turn: Turn) -> JSON:
    """Return the JSON that is stored with a round: the choice of its edit, and Q of it. Absent facts are left out."""
    choice, prediction = turn.choice, turn.prediction
    facts = {
        "w": choice.w,
        "open": choice.open,
        "q": prediction.q if prediction else None,
        "q_mean": choice.q_mean,
        "evaluations": choice.evaluations,
        "changed": choice.changed or None,
        "abstained": choice.abstained or None,
    }
    return {name: value for name, value in facts.items() if value is not None}
