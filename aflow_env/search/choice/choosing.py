# SPDX-License-Identifier: Apache-2.0
"""A round's choice among open proposals: fill the frontier, predict every pair, draw one pair.

A draw depends on the session's seed, the node's round, the number of the draw and the node's state, never on the order
in which proposers answer. A node may draw (1 + redraws) proposals for each one that it needs, so a proposer that
repeats itself costs a bounded number of calls.

The open proposals of a session are pairs of a node and an edit of it that passed the gate and has not been run. They
have different programs, and none that was or is evaluated in this session. A proposal has a node and a number
(`ordinal`), and is open until it is chosen, so it is paid once. It is stored before it is used, with the number of
rounds that had begun by then. In a resumed session each round sees the proposals that were drawn before it
(`Frontier.restored`). Later draws are taken from `known`. So the session chooses as the uninterrupted one and pays
nothing twice.

Proposals may be paid LLM calls, and a predictor that abstains compares nothing. Such a round draws one edit of the node
that AFlow selects.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
from numpy.random import Generator

from aflow_env.config import AflowConfig
from aflow_env.errors import WorkflowError
from aflow_env.search.choice.selection import candidates, choose, select, ucb
from aflow_env.search.prediction.predict import ActionValue, Candidate, LearningPredictor, QPredictor, ask, value
from aflow_env.search.proposals.expansion import Changer, in_short
from aflow_env.search.proposals.proposal import Proposal, Proposer, State, States
from aflow_env.search.session import Choice, session_seed
from aflow_env.search.tree import Tree
from aflow_env.soon import soon, together
from aflow_env.store.experience import Evaluated
from aflow_env.store.node_rows import DrawnProposal
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import NotNormalForm, to_steps

DUPLICATE = "another proposal or node of this search is the same program"
_MADE = re.compile(r"\bself\.(\w+) *= *operator\.(\w+)\(")
_AWAITED = re.compile(r"\bawait +(?:self\.(\w+)\()?")


@dataclass
class Frontier:
    """The proposals of one session by node. `taken` are the digests of programs that were or are evaluated."""

    taken: set[str | None] = field(default_factory=set)
    known: Mapping[tuple[int, int], DrawnProposal] = field(default_factory=dict)
    _drawn: dict[int, list[DrawnProposal]] = field(default_factory=dict)
    _digests: set[str | None] = field(default_factory=set)
    _replies: dict[tuple[int, int], Proposal] = field(default_factory=dict)

    @classmethod
    def restored(cls, stored: Sequence[DrawnProposal], begun: int, taken: Iterable[str]) -> "Frontier":
        """Return the frontier of a session that resumes after `begun` rounds and has run the programs `taken`."""
        known = {(each.node, each.ordinal): each for each in stored}
        found = cls({*taken}, known)
        for each in stored:
            if each.drawn < begun:
                found._append(each)
        return found

    def add(self, drawn: Sequence[DrawnProposal], replies: Mapping[tuple[int, int], Proposal]) -> list[DrawnProposal]:
        """Add proposals in the order of nodes and ordinals, and return them. Reject duplicates of earlier ones."""
        added = []
        for proposal in sorted(drawn, key=lambda each: (each.node, each.ordinal)):
            if proposal.digest and (proposal.digest in self.taken or proposal.digest in self._digests):
                proposal = replace(proposal, workflow=None, digest=None, reason=DUPLICATE)
            self._append(proposal)
            added.append(proposal)
        self._replies.update(replies)
        return added

    def _append(self, proposal: DrawnProposal) -> None:
        self._digests.add(proposal.digest)
        self._drawn.setdefault(proposal.node, []).append(proposal)

    def missing(self, limits: Mapping[int, int], edits: int) -> list[tuple[int, int]]:
        """Return (node, ordinal) to draw next, so that each node has `edits` open ones and at most its limit in all."""
        wanted = []
        for node, limit in limits.items():
            drawn = self._drawn.get(node, [])
            short = edits - sum(self._is_open(each) for each in drawn)
            wanted += [(node, ordinal) for ordinal in range(len(drawn), min(len(drawn) + short, limit))]
        return wanted

    def open(self, nodes: Sequence[int]) -> list[DrawnProposal]:
        """Return the open proposals of these nodes, by round and ordinal."""
        return [each for node in sorted(nodes) for each in self._drawn.get(node, []) if self._is_open(each)]

    def last(self, node: int) -> DrawnProposal:
        """Return the last proposal of the node. Raises KeyError when there is none."""
        return self._drawn[node][-1]

    def reply(self, proposal: DrawnProposal) -> Proposal:
        """Return the proposer's reply, or one without a payload for a proposal from disk."""
        return self._replies.get((proposal.node, proposal.ordinal)) or Proposal(proposal.text)

    def _is_open(self, proposal: DrawnProposal) -> bool:
        return proposal.digest is not None and proposal.digest not in self.taken


def candidate_of(proposal: DrawnProposal) -> Candidate:
    """Return the edit of an open proposal."""
    assert proposal.workflow is not None
    return Candidate(proposal.text, proposal.workflow)


@dataclass(frozen=True)
class Picked:
    """The proposal that a round evaluates, with the state of its node. `proposal` is None when none is open."""

    choice: Choice
    state: State
    proposal: DrawnProposal | None
    prediction: ActionValue | None = None


@dataclass
class Chooser:
    """Chooses the edits of one session. `earlier` are earlier evaluations of this run, for a learning predictor."""

    config: AflowConfig
    states: States
    proposer: Proposer
    change: Changer
    predictor: QPredictor | LearningPredictor | None
    frontier: Frontier
    seed: int
    earlier: Sequence[Evaluated] = ()

    async def pick(self, tree: Tree, begun: int, unseen: int | None, rng: Generator) -> Picked:
        """Choose an open proposal after `begun` rounds have begun, and mark its program as taken."""
        look, rule = self.config.lookahead, self.config.selection
        predictor, evaluations = self.predictor_at(tree)
        abstained = self.config.rl_weight > 0 and predictor is None
        rounds, means, visits = tree.arrays()
        found = ucb(means, visits, int(visits.sum()), rule.c_ucb)
        bounds = dict(zip(rounds.tolist(), found.tolist(), strict=True))
        if look.nodes == 1 or abstained:
            nodes = [select(rounds=rounds, means=means, visits=visits, config=rule, rng=rng).round]
        else:
            nodes = sorted(rounds[candidates(found, look.nodes, rounds)].tolist())
        built = await together(self.states.of(tree, tree.node(node), unseen) for node in nodes)
        states = dict(zip(nodes, built, strict=True))
        await self._fill(tree, states, begun, 1 if abstained else look.edits)
        pairs = self.frontier.open(nodes)
        choice = partial(Choice, open=len(pairs), evaluations=evaluations, abstained=abstained)
        if not pairs:
            best = max(nodes, key=lambda node: (bounds[node], -node))
            return Picked(choice(best, bounds[best]), states[best], None)
        w = 0.0 if abstained else self.config.rl_weight
        values = await _values(predictor, pairs, states) if w > 0 and predictor else None
        q = np.array([each.q for each in values]) if values else None
        chosen = choose(
            ucb=np.array([bounds[pair.node] for pair in pairs]),
            q=q,
            calls=np.array([calls(candidate_of(pair).workflow) for pair in pairs]),
            w=w,
            config=rule,
            uniform=float(rng.random()),
        )
        pair = pairs[chosen.place]
        state = states[pair.node]
        # With w = 0 only the drawn pair is predicted.
        prediction = values[chosen.place] if values else await value(predictor, state, candidate_of(pair))
        self.frontier.taken.add(pair.digest)
        mean = None if q is None else float(q.mean())
        made = choice(pair.node, bounds[pair.node], w=w, changed=chosen.changed, q_mean=mean)
        return Picked(made, state, pair, prediction)

    def predictor_at(self, tree: Tree) -> tuple[QPredictor | None, int | None]:
        """Return the next round's predictor, and on how many evaluations, those that it may use, it is fitted."""
        if not isinstance(self.predictor, LearningPredictor):
            return self.predictor, None
        seen = [Evaluated(node.workflow, node.score, node.evaluation.n) for node in tree]
        return self.predictor.fitted([*self.earlier, *seen])

    async def _fill(self, tree: Tree, states: Mapping[int, State], begun: int, edits: int) -> None:
        """Draw proposals until every node has `edits` open ones, or has drawn as many as it may."""
        draws = 1 + self.config.redraws
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
        """Return one draw, implemented and gated. A draw from disk has no reply."""
        if known := self.frontier.known.get((node, ordinal)):
            return known, None
        reply = await self.proposer.propose(state, session_seed(self.seed, node, ordinal) >> 32)
        try:
            change = await self.change(state.workflow, reply.text)
        except WorkflowError as error:
            return DrawnProposal(node, ordinal, begun, reply.text, in_short(reply.text), reason=str(error)), reply
        facts = (change.modification, change.workflow, change.workflow.digest)
        return DrawnProposal(node, ordinal, begun, reply.text, *facts), reply


async def _values(
    predictor: QPredictor, pairs: Sequence[DrawnProposal], states: Mapping[int, State]
) -> list[ActionValue]:
    """Return the prediction of each pair. Pairs are sorted by node, and a node's pairs are one question."""
    families = {pair.node: [candidate_of(each) for each in pairs if each.node == pair.node] for pair in pairs}
    found = await together(ask(predictor, states[node], edits) for node, edits in families.items())
    return [each for values in found for each in values]


@lru_cache(maxsize=4096)
def calls(workflow: Workflow) -> int:
    """Count the executor calls of one problem as far as the program tells, by the operators of its steps or awaits.

    Operators that try again on an error and loops of code that is no list of steps count once. Select counts as if it
    drew all of its samples.
    """
    try:
        return sum(max(step.samples - 1, 0) + SIGNATURES[step.operator].calls for step in to_steps(workflow))
    except NotNormalForm:
        made = dict(_MADE.findall(workflow.graph))
        awaited = [made.get(attribute) for attribute in _AWAITED.findall(workflow.graph)]
        return max(1, sum(SIGNATURES[name].calls if name in SIGNATURES else 1 for name in awaited))
