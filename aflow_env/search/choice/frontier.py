# SPDX-License-Identifier: Apache-2.0
"""The open proposals of a session: pairs of a node and an edit of it that passed the gate and has not been run.

Plain data, no I/O. No two open proposals come to the same program, and none to a program that was evaluated or is being
evaluated in this session. A proposal is drawn for one node, under a number of its own (`ordinal`), and stays open until
it is chosen, so each is paid for once.

Proposals are on disk before they are used, with the number of rounds that had begun when they were drawn. A session
that goes on after a kill shows each round those that were drawn by then (`restored`) and takes the others from
`known` where they are drawn again, so it chooses as the uninterrupted one would and pays for nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aflow_env.search.choice.selection import Floats, Ints, candidates
from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.proposals.proposal import Proposal
from aflow_env.store.proposal_rows import DrawnProposal

DUPLICATE = "another proposal or node of this search is the same program"


@dataclass(frozen=True)
class OpenPair:
    """An open proposal: the edit of the node of round `node`, and the proposer's reply, whose payload a trainer reads.

    A reply that was read from disk has no payload.
    """

    node: int
    ordinal: int
    digest: str
    modification: str
    candidate: Candidate
    reply: Proposal


@dataclass
class Frontier:
    """The proposals of one session by node; `taken` are the programs that were evaluated, or are on their way."""

    taken: set[str] = field(default_factory=set)
    known: Mapping[tuple[int, int], DrawnProposal] = field(default_factory=dict)
    _drawn: dict[int, list[DrawnProposal]] = field(default_factory=dict)
    _replies: dict[tuple[int, int], Proposal] = field(default_factory=dict)

    @classmethod
    def restored(cls, stored: Sequence[DrawnProposal], begun: int, taken: Iterable[str]) -> "Frontier":
        """The frontier of a session that goes on after `begun` rounds and has run the programs `taken`."""
        known = {(each.node, each.ordinal): each for each in stored}
        found = cls(set(taken), known)
        for each in stored:
            if each.drawn < begun:
                found._drawn.setdefault(each.node, []).append(each)
        return found

    def add(self, drawn: Sequence[DrawnProposal], replies: Mapping[tuple[int, int], Proposal]) -> list[DrawnProposal]:
        """Add what was drawn, in the order of nodes and ordinals; duplicates become rejections. Return what was added.

        Which of several proposals with one program stays depends on that order and on nothing else.
        """
        elsewhere = self.taken | {each.digest for each in self._all() if each.digest is not None}
        added = []
        for proposal in sorted(drawn, key=lambda each: (each.node, each.ordinal)):
            if proposal.digest in elsewhere:
                proposal = replace(proposal, workflow=None, digest=None, reason=DUPLICATE)
            elif proposal.digest is not None:
                elsewhere.add(proposal.digest)
            self._drawn.setdefault(proposal.node, []).append(proposal)
            added.append(proposal)
        self._replies.update(replies)
        return added

    def missing(self, limits: Mapping[int, int], edits: int) -> list[tuple[int, int]]:
        """(node, ordinal) of the proposals to draw next, so that each of the nodes has `edits` open ones.

        `limits` maps each node to how many proposals it may have drawn in all.
        """
        wanted = []
        for node, limit in limits.items():
            drawn = self._drawn.get(node, [])
            short = edits - sum(self._is_open(each) for each in drawn)
            wanted += [(node, ordinal) for ordinal in range(len(drawn), min(len(drawn) + short, limit))]
        return wanted

    def open(self, nodes: Sequence[int]) -> list[OpenPair]:
        """The open pairs of these nodes, by round and ordinal."""
        return [self._pair(each) for node in sorted(nodes) for each in self._drawn.get(node, []) if self._is_open(each)]

    def last(self, node: int) -> DrawnProposal:
        """The last proposal that was drawn for the node. Raises KeyError where none was."""
        return self._drawn[node][-1]

    def _all(self) -> Iterable[DrawnProposal]:
        return (each for drawn in self._drawn.values() for each in drawn)

    def _is_open(self, proposal: DrawnProposal) -> bool:
        return proposal.digest is not None and proposal.digest not in self.taken

    def _pair(self, proposal: DrawnProposal) -> OpenPair:
        assert proposal.workflow is not None
        assert proposal.digest is not None
        reply = self._replies.get((proposal.node, proposal.ordinal)) or Proposal(proposal.text)
        candidate = Candidate(proposal.text, proposal.workflow)
        return OpenPair(proposal.node, proposal.ordinal, proposal.digest, proposal.modification, candidate, reply)


def keeping(rounds: Ints, bounds: Floats, nodes: int) -> list[int]:
    """The rounds whose nodes keep open proposals: round 1 and the best others by UCB, `nodes` in all, ascending.

    Ties go to the lower round. `rounds` and `bounds` are parallel.
    """
    return sorted(rounds[candidates(bounds, nodes, rounds)].tolist())
