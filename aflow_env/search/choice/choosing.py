# SPDX-License-Identifier: Apache-2.0
"""A round's choice among open proposals: fill the frontier, predict every pair, draw one pair.

What is drawn for a node depends on (the session's seed, the node's round, the number of the draw) and on what the
proposer may know, never on the order in which proposers answer. A node may have drawn (1 + redraws) proposals for each
one that it had to have, so a proposer that repeats itself costs a bounded number of calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from aflow_env.config import AflowConfig
from aflow_env.errors import WorkflowError
from aflow_env.search.choice.frontier import Frontier, OpenPair, keeping
from aflow_env.search.choice.selection import Floats, choose, select, ucb
from aflow_env.search.prediction.predict import ActionValue, LearningPredictor, QPredictor, ask, value
from aflow_env.search.proposals.expansion import Changer, in_short
from aflow_env.search.proposals.proposal import Proposal, Proposer, State
from aflow_env.search.proposals.states import States
from aflow_env.search.session import Choice, session_seed
from aflow_env.search.tree import Tree
from aflow_env.soon import soon, together
from aflow_env.store.proposal_rows import DrawnProposal, Evaluated


@dataclass(frozen=True)
class Picked:
    """The pair that a round evaluates, with the state of its node; `pair` is None where no proposal is open."""

    choice: Choice
    state: State
    pair: OpenPair | None
    prediction: ActionValue | None = None


@dataclass
class Chooser:
    """Chooses the rounds of one session. `earlier` are evaluations of this run that a predictor may learn from."""

    config: AflowConfig
    states: States
    proposer: Proposer
    change: Changer
    predictor: QPredictor | LearningPredictor | None
    frontier: Frontier
    seed: int
    earlier: Sequence[Evaluated] = ()

    async def pick(self, tree: Tree, begun: int, unseen: int | None, rng: Generator) -> Picked:
        """Choose a pair after `begun` rounds have begun, and take it out of the open ones."""
        look, rule = self.config.lookahead, self.config.selection
        rounds, means, visits = tree.arrays()
        found = ucb(means, visits, int(visits.sum()), rule.c_ucb)
        bounds = dict(zip(rounds.tolist(), found.tolist(), strict=True))
        if look.nodes == 1:
            nodes = [select(rounds=rounds, means=means, visits=visits, config=rule, rng=rng).round]
        else:
            nodes = keeping(rounds, found, look.nodes)
        built = await together(self.states.of(tree, tree.node(node), unseen) for node in nodes)
        states = dict(zip(nodes, built, strict=True))
        await self._fill(tree, states, begun)
        pairs = self.frontier.open(nodes)
        if not pairs:
            best = max(nodes, key=lambda node: (bounds[node], -node))
            return Picked(Choice(best, bounds[best], open=0), states[best], None)
        return await self._draw_pair(tree, pairs, states, np.array([bounds[each.node] for each in pairs]), rng)

    async def _draw_pair(
        self, tree: Tree, pairs: Sequence[OpenPair], states: Mapping[int, State], bounds: Floats, rng: Generator
    ) -> Picked:
        w, predictor = self.config.rl_weight, self.predictor_at(tree)
        values = await self._values(predictor, pairs, states) if w > 0 and predictor else None
        abstained = values is None and w > 0
        w = 0.0 if abstained else w
        q = None if values is None else np.array([each.q for each in values])
        chosen = choose(bounds, q, w, self.config.selection, float(rng.random()))
        pair = pairs[chosen.place]
        self.frontier.taken.add(pair.digest)
        if values is not None:
            prediction: ActionValue | None = values[chosen.place]
        elif predictor and not abstained:  # with w = 0 the values of the others decide nothing
            prediction = await value(predictor, states[pair.node], pair.candidate)
        else:
            prediction = None
        choice = Choice(
            pair.node,
            float(bounds[chosen.place]),
            len(pairs),
            w,
            chosen.changed,
            None if q is None else float(q.mean()),
            getattr(predictor, "evaluations", None),
            abstained,
        )
        return Picked(choice, states[pair.node], pair, prediction)

    def predictor_at(self, tree: Tree) -> QPredictor | None:
        """The predictor of the round that begins, fitted on what the round may know."""
        if not isinstance(self.predictor, LearningPredictor):
            return self.predictor
        seen = [Evaluated(node.workflow, node.score, node.evaluation.n) for node in tree]
        return self.predictor.fitted([*self.earlier, *seen])

    async def _values(
        self, predictor: QPredictor, pairs: Sequence[OpenPair], states: Mapping[int, State]
    ) -> list[ActionValue] | None:
        """The prediction of each pair; None where the predictor abstains."""
        nodes = list(dict.fromkeys(pair.node for pair in pairs))
        families = [[pair.candidate for pair in pairs if pair.node == node] for node in nodes]
        found = await together(ask(predictor, states[node], edits) for node, edits in zip(nodes, families, strict=True))
        if any(each is None for each in found):
            return None
        values = dict(zip(nodes, (iter(each or ()) for each in found), strict=True))
        return [next(values[pair.node]) for pair in pairs]

    async def _fill(self, tree: Tree, states: Mapping[int, State], begun: int) -> None:
        """Draw proposals until every node has as many open ones as it is to have, or has drawn all that it may."""
        edits, draws = self.config.lookahead.edits, 1 + self.config.redraws
        limits = {node: draws * (edits + tree.visits(node) - 1) for node in states}
        while wanted := self.frontier.missing(limits, edits):
            drawn = await together(self._propose(states[node], node, ordinal, begun) for node, ordinal in wanted)
            replies = {(each.node, each.ordinal): reply for each, reply in drawn if reply is not None}
            added = self.frontier.add([each for each, _ in drawn], replies)
            fresh = [each for each in added if (each.node, each.ordinal) not in self.frontier.known]
            await soon(self.states.store.save_proposals(self.states.key, fresh))

    async def _propose(
        self, state: State, node: int, ordinal: int, begun: int
    ) -> tuple[DrawnProposal, Proposal | None]:
        """One draw, implemented and gated; the one on disk where there is one, which has no reply."""
        if known := self.frontier.known.get((node, ordinal)):
            return known, None
        reply = await self.proposer.propose(state, session_seed(self.seed, node, ordinal) >> 32)
        try:
            change = await self.change(state.workflow, reply.text)
        except WorkflowError as error:
            return DrawnProposal(node, ordinal, begun, reply.text, in_short(reply.text), reason=str(error)), reply
        facts = (change.modification, change.workflow, change.workflow.digest)
        return DrawnProposal(node, ordinal, begun, reply.text, *facts), reply
