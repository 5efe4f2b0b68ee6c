# SPDX-License-Identifier: Apache-2.0
"""The search tree: immutable nodes by round.

`begin(parent)` starts an expansion and gives it the lowest free round number; `record(node)`, `record(rejection)` or
`cancel(round)` ends it. Until then it counts as a visit of its parent (a virtual visit), so that several expansions in
flight spread out. Rounds may be recorded in any order, and twice: the tree depends only on the set of them. A rejected
round stays a visit and has no node, as in AFlow, where a failed round is absent. A cancelled one (the world's fault)
leaves no trace and its number is free.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aflow_env.store.node_rows import Node, Rejection


class Tree:
    """Nodes by round. Not thread-safe: one search, one tree, one event loop."""

    def __init__(self, cost_weight: float = 0.0) -> None:
        self.cost_weight = cost_weight
        self._ended: dict[int, Node | Rejection] = {}
        self._nodes: dict[int, Node] = {}
        self._place: dict[int, int] = {}  # round -> position in the three lists
        self._rounds: list[int] = []
        self._means: list[float] = []
        self._visits: list[int] = []  # those in flight too
        self._children: dict[int, list[Node]] = {}
        self._flying: dict[int, int] = {}  # round -> parent
        self._best: Node | None = None
        self._free = 1  # no lower round is free

    def begin(self, parent: int) -> int:
        """Start an expansion of `parent`; returns its round number. Raises KeyError for a parent that has no node."""
        self._visits[self._place[parent]] += 1
        while self._free in self._ended or self._free in self._flying:
            self._free += 1
        self._flying[self._free] = parent
        return self._free

    def record(self, ended: Node | Rejection) -> None:
        """End an expansion with a node, or with the rejection of its action; recording it again changes nothing.

        It need not have been begun (a stored session is recorded as it is). Raises ValueError for a round that ended
        otherwise, for a parent that differs from the one begun, and for a parent that has no node.
        """
        if ended.round in self._ended:
            if self._ended[ended.round] != ended:
                raise ValueError(f"round {ended.round} ended before, and otherwise: it cannot change")
            return
        self._settle(ended.round, ended.parent)
        self._ended[ended.round] = ended
        if isinstance(ended, Node):
            self._nodes[ended.round] = ended
            self._place[ended.round] = len(self._place)
            self._rounds.append(ended.round)
            self._means.append(self.worth(ended))
            self._visits.append(1)
            if ended.parent is not None:
                self._children.setdefault(ended.parent, []).append(ended)
            rank = -self.worth(ended), ended.round
            if self._best is None or rank < (-self.worth(self._best), self._best.round):
                self._best = ended

    def cancel(self, round_: int) -> None:
        """Forget an expansion in flight: its visit is taken back, its number is free. Unknown rounds are ignored."""
        parent = self._flying.pop(round_, None)
        if parent is not None:
            self._visits[self._place[parent]] -= 1
            self._free = min(self._free, round_)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Parallel arrays (rounds, means of worth, visits) of all nodes, in the order recorded."""
        return np.array(self._rounds, np.int64), np.array(self._means, np.float64), np.array(self._visits, np.int64)

    def worth(self, node: Node) -> float:
        """Return what selection goes by: the score less the weighted cost of a problem."""
        return node.evaluation.worth(self.cost_weight)

    def node(self, round_: int) -> Node:
        """The node of a round. Raises KeyError where there is none (rejected, in flight, or not begun)."""
        if round_ not in self._nodes:
            raise KeyError(f"round {round_} has no node")
        return self._nodes[round_]

    def rounds(self) -> tuple[int, ...]:
        """The rounds that have a node, ascending."""
        return tuple(sorted(self._nodes))

    def visits(self, round_: int) -> int:
        """1 + how often the node was expanded: evaluated, rejected and in flight."""
        return self._visits[self._place[round_]]

    def best(self) -> Node:
        """The node with the highest worth, the earliest among equals. Raises ValueError for an empty tree."""
        if self._best is None:
            raise ValueError("the tree is empty: evaluate and record the start workflow first")
        return self._best

    def seen(self, parent: int, digest: str) -> bool:
        """Whether a child of this round has this digest."""
        return any(child.digest == digest for child in self._children.get(parent, ()))

    @property
    def played(self) -> int:
        """How many expansions have ended, with a node or rejected."""
        return max(0, len(self._ended) - 1)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return (self._nodes[round_] for round_ in self.rounds())

    def _settle(self, round_: int, parent: int | None) -> None:
        """Count the visit of an expansion that ends: it was in flight, or was never begun."""
        if (parent is None) != (round_ == 1):
            raise ValueError(f"round {round_} has parent {parent}: round 1, and no other, has none")
        if parent is None:
            return
        if parent not in self._nodes:
            raise ValueError(f"round {round_} expands round {parent}, which has no node: record parents first")
        begun = self._flying.get(round_)
        if begun is None:
            self._visits[self._place[parent]] += 1
        elif begun == parent:
            del self._flying[round_]
        else:
            raise ValueError(f"round {round_} was begun from round {begun}, not {parent}")
