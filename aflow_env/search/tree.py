# SPDX-License-Identifier: Apache-2.0
"""The search tree: immutable nodes, and the indices that make asking and telling quick at any size.

An expansion is asked for with `begin(parent)`, which gives it the lowest round number that is free, and ends with
`tell(node)`, `tell(rejection)` or `cancel(round)`. Until then it counts as a visit of its parent (a virtual visit),
so that several expansions in flight spread out. Tellings may come in any order, and twice: the tree depends only on
what was told. A rejected round stays a visit and has no node, as in AFlow, where a failed round is absent; a
cancelled one (the world's fault) leaves no trace and its number is free.

`begin` and `tell` are O(log n); `arrays` is O(1): growing numpy buffers that selection reads in place. Once `widths`
has been asked for (progressive widening), `begin` and `tell` also climb to the start, and `widths` is O(1) too.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from aflow_env.store.records import Node, Rejection


class Tree:
    """Nodes by round. Not thread-safe: one search, one tree, one event loop."""

    def __init__(self) -> None:
        self._ended: dict[int, Node | Rejection] = {}
        self._place: dict[int, int] = {}  # round -> position in the arrays
        self._rounds: NDArray[np.int64] = np.zeros(16, dtype=np.int64)
        self._means: NDArray[np.float64] = np.zeros(16, dtype=np.float64)
        self._visits: NDArray[np.int64] = np.zeros(16, dtype=np.int64)
        self._width: NDArray[np.int64] = np.zeros(16, dtype=np.int64)  # children, those in flight too
        self._below: NDArray[np.int64] | None = None  # 1 + expansions of the node and all below it; None: nobody asked
        self._up: list[int] = []  # position -> the parent's, -1 for the start
        self._children: dict[int, list[Node]] = {}
        self._digests: dict[str, int] = {}  # digest -> a round that has it
        self._under: set[tuple[int, str]] = set()  # (parent, digest)
        self._flying: dict[int, int] = {}  # round -> parent
        self._best: Node | None = None
        self._next = 1
        self._free: list[int] = []

    def begin(self, parent: int) -> int:
        """Start an expansion of `parent`; returns its round number. Raises KeyError for a parent that has no node."""
        self._visit(parent, 1)
        round_ = self._lowest_free()
        self._flying[round_] = parent
        return round_

    def tell(self, ended: Node | Rejection) -> None:
        """End an expansion with a node, or with the rejection of its action; the same telling again changes nothing.

        It need not have been begun (a stored session is told as it is). Raises ValueError for a round that ended
        otherwise, for a parent that differs from the one begun, and for a parent that has no node.
        """
        if ended.round in self._ended:
            if self._ended[ended.round] != ended:
                raise ValueError(f"round {ended.round} ended before, and otherwise: it cannot change")
            return
        self._settle(ended.round, ended.parent)
        self._ended[ended.round] = ended
        if isinstance(ended, Node):
            self._append(ended)
        else:
            self._width[self._place[ended.parent]] -= 1

    def cancel(self, round_: int) -> None:
        """Forget an expansion in flight: its visit is taken back, its number is free. Unknown rounds are ignored."""
        parent = self._flying.pop(round_, None)
        if parent is not None:
            self._visit(parent, -1)
            heappush(self._free, round_)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Parallel views (rounds, mean scores, visits) of all nodes, in the order told; valid until the next call."""
        size = len(self._place)
        return self._rounds[:size], self._means[:size], self._visits[:size]

    def widths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Parallel to `arrays`: each node's children, those in flight too, and 1 + the expansions in its subtree."""
        if self._below is None:
            self._below = np.ones_like(self._visits)
            counts = (self._visits - 1).tolist()
            for place in reversed(range(len(self._place))):  # parents lie before their children
                self._below[place] += counts[place]
                if place:
                    counts[self._up[place]] += counts[place]
        size = len(self._place)
        return self._width[:size], self._below[:size]

    def node(self, round_: int) -> Node:
        """The node of a round. Raises KeyError where there is none (rejected, in flight, or not begun)."""
        node = self._ended.get(round_)
        if not isinstance(node, Node):
            raise KeyError(f"round {round_} has no node")
        return node

    def rounds(self) -> tuple[int, ...]:
        """The rounds that have a node, ascending."""
        return tuple(sorted(self._place))

    def children(self, round_: int) -> tuple[Node, ...]:
        """The evaluated children of a round, by ascending round."""
        return tuple(sorted(self._children.get(round_, ()), key=lambda node: node.round))

    def visits(self, round_: int) -> int:
        """1 + how often the node was expanded: told, rejected and in flight."""
        return int(self._visits[self._place[round_]])

    def best(self) -> Node:
        """The node with the highest score, the earliest among equals. Raises ValueError for an empty tree."""
        if self._best is None:
            raise ValueError("the tree is empty: evaluate and tell the start workflow first")
        return self._best

    def seen(self, digest: str, parent: int | None = None) -> bool:
        """Whether a node with this digest is in the tree; with `parent`, whether it is among that node's children."""
        return digest in self._digests if parent is None else (parent, digest) in self._under

    def find(self, digest: str) -> Node | None:
        """A node with this digest, or None."""
        round_ = self._digests.get(digest)
        return None if round_ is None else self.node(round_)

    @property
    def played(self) -> int:
        """How many expansions have ended, with a node or rejected."""
        return max(0, len(self._ended) - 1)

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The rounds begun and not ended, ascending."""
        return tuple(sorted(self._flying))

    def __len__(self) -> int:
        return len(self._place)

    def __iter__(self) -> Iterator[Node]:
        return (self.node(round_) for round_ in self.rounds())

    def _lowest_free(self) -> int:
        while self._free:
            round_ = heappop(self._free)
            if round_ not in self._ended and round_ not in self._flying:
                return round_
        while self._next in self._ended or self._next in self._flying:
            self._next += 1
        return self._next

    def _settle(self, round_: int, parent: int | None) -> None:
        """Count the visit of an expansion that ends: it was in flight, or was never begun."""
        if (parent is None) != (round_ == 1):
            raise ValueError(f"round {round_} has parent {parent}: round 1, and no other, has none")
        if parent is None:
            return
        if parent not in self._place:
            raise ValueError(f"round {round_} expands round {parent}, which has no node: tell parents first")
        begun = self._flying.get(round_)
        if begun is None:
            self._visit(parent, 1)
        elif begun == parent:
            del self._flying[round_]
        else:
            raise ValueError(f"round {round_} was begun from round {begun}, not {parent}")

    def _visit(self, parent: int, count: int) -> None:
        """Add `count` expansions to a node, and so to the subtrees that it is in."""
        place = self._place[parent]
        self._visits[place] += count
        self._width[place] += count
        while self._below is not None and place >= 0:
            self._below[place] += count
            place = self._up[place]

    def _append(self, node: Node) -> None:
        place = len(self._place)
        if place == len(self._rounds):
            self._rounds, self._means = np.resize(self._rounds, 2 * place), np.resize(self._means, 2 * place)
            self._visits, self._width = np.resize(self._visits, 2 * place), np.resize(self._width, 2 * place)
            self._below = None if self._below is None else np.resize(self._below, 2 * place)
        self._place[node.round] = place
        self._up.append(-1 if node.parent is None else self._place[node.parent])
        self._rounds[place], self._means[place], self._visits[place] = node.round, node.score, 1
        self._width[place] = 0
        if self._below is not None:
            self._below[place] = 1
        self._digests.setdefault(node.digest, node.round)
        if node.parent is not None:
            self._children.setdefault(node.parent, []).append(node)
            self._under.add((node.parent, node.digest))
        if self._best is None or (-node.score, node.round) < (-self._best.score, self._best.round):
            self._best = node
