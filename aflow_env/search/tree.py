# SPDX-License-Identifier: Apache-2.0
"""The search tree: immutable nodes by round.

`begin(parent)` starts an expansion with the lowest free round number. `record(node)`, `record(rejection)` or
`cancel(round)` ends it. Until then it is a virtual visit of its parent, so several expansions in flight spread out.
Rounds may be recorded in any order, and twice. The tree depends only on the set of them. A rejected round is a visit
without a node, as in AFlow. A cancelled round (the world's fault) is no visit, and its number is free again.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aflow_env.store.node_rows import Node, Rejection


class Tree:
    """Nodes by round, for one event loop."""

    def __init__(self, cost_weight: float = 0.0) -> None:
        self.cost_weight = cost_weight
        self._ended: dict[int, Node | Rejection] = {}
        self._nodes: dict[int, Node] = {}  # this and the next two in the order recorded
        self._means: dict[int, float] = {}
        self._visits: dict[int, int] = {}  # with visits in flight
        self._flying: dict[int, int] = {}  # round -> parent
        self._free = 1  # no lower round is free

    def begin(self, parent: int) -> int:
        """Start an expansion of `parent` and return its round. Raises KeyError for a parent without a node."""
        self._visits[parent] += 1
        while self._free in self._ended or self._free in self._flying:
            self._free += 1
        self._flying[self._free] = parent
        return self._free

    def record(self, ended: Node | Rejection) -> None:
        """End an expansion with a node or a rejection. Recording it again changes nothing.

        A stored session records rounds that were not begun. Raises ValueError for a round that ended otherwise, for a
        parent that differs from the one begun, and for a parent without a node.
        """
        if ended.round in self._ended:
            if self._ended[ended.round] != ended:
                raise ValueError(f"round {ended.round} ended before, and otherwise: it cannot change")
            return
        self._settle(ended.round, ended.parent)
        self._ended[ended.round] = ended
        if isinstance(ended, Node):
            self._nodes[ended.round] = ended
            self._means[ended.round] = self.worth(ended)
            self._visits[ended.round] = 1

    def cancel(self, round_: int) -> None:
        """Forget an expansion in flight, with its visit and number. Unknown rounds are ignored."""
        parent = self._flying.pop(round_, None)
        if parent is not None:
            self._visits[parent] -= 1
            self._free = min(self._free, round_)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return parallel arrays (rounds, means of worth, visits) of all nodes, in the order recorded."""
        means, visits = list(self._means.values()), list(self._visits.values())
        return np.array(list(self._nodes), np.int64), np.array(means, np.float64), np.array(visits, np.int64)

    def worth(self, node: Node) -> float:
        """Return the score less the weighted cost of a problem. Selection compares this."""
        return node.evaluation.worth(self.cost_weight)

    def node(self, round_: int) -> Node:
        """Return the node of a round. Raises KeyError for a round that is rejected, in flight or not begun."""
        if round_ not in self._nodes:
            raise KeyError(f"round {round_} has no node")
        return self._nodes[round_]

    def visits(self, round_: int) -> int:
        """Return 1 + the number of expansions of the node: evaluated, rejected and in flight."""
        return self._visits[round_]

    def best(self) -> Node:
        """Return the node with the highest worth, the earliest among equals. Raises ValueError for an empty tree."""
        if not self._nodes:
            raise ValueError("the tree is empty: evaluate and record the start workflow first")
        return self._nodes[max(self._means, key=lambda round_: (self._means[round_], -round_))]

    def seen(self, parent: int, digest: str) -> bool:
        """Return whether a child of this round has this digest."""
        return any(node.parent == parent and node.digest == digest for node in self._nodes.values())

    @property
    def played(self) -> int:
        """The number of expansions that have ended, with a node or rejected."""
        return max(0, len(self._ended) - 1)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return (self._nodes[round_] for round_ in sorted(self._nodes))

    def _settle(self, round_: int, parent: int | None) -> None:
        """Count the visit of an expansion that ends, unless it counts as one in flight."""
        if (parent is None) != (round_ == 1):
            raise ValueError(f"round {round_} has parent {parent}: round 1, and no other, has none")
        if parent is None:
            return
        if parent not in self._nodes:
            raise ValueError(f"round {round_} expands round {parent}, which has no node: record parents first")
        begun = self._flying.get(round_)
        if begun is None:
            self._visits[parent] += 1
        elif begun == parent:
            del self._flying[round_]
        else:
            raise ValueError(f"round {round_} was begun from round {begun}, not {parent}")
