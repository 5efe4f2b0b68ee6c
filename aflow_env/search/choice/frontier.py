# SPDX-License-Identifier: Apache-2.0
"""The open proposals of a session: pairs of a node and an edit of it that passed the gate and has not been run.

Plain data, no I/O. Open proposals have different programs, and none that was or is evaluated in this session. A
proposal has a node and a number (`ordinal`), and is open until it is chosen, so it is paid once.

Proposals are stored before they are used, with the number of rounds that had begun by then. In a resumed session each
round sees the proposals that were drawn before it (`restored`). Later draws are taken from `known`. So the session
chooses as the uninterrupted one and pays nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.proposals.proposal import Proposal
from aflow_env.store.node_rows import DrawnProposal

DUPLICATE = "another proposal or node of this search is the same program"


@dataclass(frozen=True)
class OpenPair:
    """An open proposal for the node of round `node`. A `reply` from disk has no payload for a trainer."""

    node: int
    ordinal: int
    digest: str
    modification: str
    candidate: Candidate
    reply: Proposal


@dataclass
class Frontier:
    """The proposals of one session by node. `taken` are the digests of programs that were or are evaluated."""

    taken: set[str] = field(default_factory=set)
    known: Mapping[tuple[int, int], DrawnProposal] = field(default_factory=dict)
    _drawn: dict[int, list[DrawnProposal]] = field(default_factory=dict)
    _replies: dict[tuple[int, int], Proposal] = field(default_factory=dict)

    @classmethod
    def restored(cls, stored: Sequence[DrawnProposal], begun: int, taken: Iterable[str]) -> "Frontier":
        """Return the frontier of a session that resumes after `begun` rounds and has run the programs `taken`."""
        known = {(each.node, each.ordinal): each for each in stored}
        found = cls(set(taken), known)
        for each in stored:
            if each.drawn < begun:
                found._drawn.setdefault(each.node, []).append(each)
        return found

    def add(self, drawn: Sequence[DrawnProposal], replies: Mapping[tuple[int, int], Proposal]) -> list[DrawnProposal]:
        """Add proposals in the order of nodes and ordinals, and return them. Reject duplicates of earlier ones."""
        earlier = self.taken | {each.digest for found in self._drawn.values() for each in found if each.digest}
        added = []
        for proposal in sorted(drawn, key=lambda each: (each.node, each.ordinal)):
            if proposal.digest in earlier:
                proposal = replace(proposal, workflow=None, digest=None, reason=DUPLICATE)
            elif proposal.digest is not None:
                earlier.add(proposal.digest)
            self._drawn.setdefault(proposal.node, []).append(proposal)
            added.append(proposal)
        self._replies.update(replies)
        return added

    def missing(self, limits: Mapping[int, int], edits: int) -> list[tuple[int, int]]:
        """Return (node, ordinal) of the proposals to draw next, so that each node has `edits` open ones.

        `limits` maps each node to the number of proposals that it may draw in all.
        """
        wanted = []
        for node, limit in limits.items():
            drawn = self._drawn.get(node, [])
            short = edits - sum(self._is_open(each) for each in drawn)
            wanted += [(node, ordinal) for ordinal in range(len(drawn), min(len(drawn) + short, limit))]
        return wanted

    def open(self, nodes: Sequence[int]) -> list[OpenPair]:
        """Return the open pairs of these nodes, by round and ordinal."""
        return [self._pair(each) for node in sorted(nodes) for each in self._drawn.get(node, []) if self._is_open(each)]

    def last(self, node: int) -> DrawnProposal:
        """Return the last proposal of the node. Raises KeyError when there is none."""
        return self._drawn[node][-1]

    def reply(self, proposal: DrawnProposal) -> Proposal:
        """Return the proposer's reply, or one without a payload for a proposal from disk."""
        return self._replies.get((proposal.node, proposal.ordinal)) or Proposal(proposal.text)

    def _is_open(self, proposal: DrawnProposal) -> bool:
        return proposal.digest is not None and proposal.digest not in self.taken

    def _pair(self, proposal: DrawnProposal) -> OpenPair:
        assert proposal.workflow is not None
        assert proposal.digest is not None
        candidate, reply = Candidate(proposal.text, proposal.workflow), self.reply(proposal)
        return OpenPair(proposal.node, proposal.ordinal, proposal.digest, proposal.modification, candidate, reply)
