# SPDX-License-Identifier: Apache-2.0
"""What a session is made of, as plain data: where it starts, its turns, its tree, and the seed of its draws."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from aflow_env.search.predict import ActionValue
from aflow_env.search.proposal import Proposal, State
from aflow_env.search.selection import Selection
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection
from aflow_env.store.store import SessionKey
from aflow_env.workflow.program import Workflow


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
    `prediction` is the policy's of the parent when it was chosen, None when nobody was asked.
    """

    state: State
    selection: Selection
    reply: Proposal
    ended: Node | Rejection
    prediction: ActionValue | None = None
    duplicate: bool = False

    @property
    def node(self) -> Node | None:
        """The node that came of it, or None."""
        return self.ended if isinstance(self.ended, Node) else None


@dataclass
class SearchSession:
    """A search as far as it went: the tree, the turns played by this process, and why it stopped."""

    tree: Tree = field(default_factory=Tree)
    turns: list[Turn] = field(default_factory=list)
    stopped: str = "rounds"

    def q_target(self, round_: int) -> float | None:
        """What Q of this node should have said: the score of its best evaluated child, or None without one."""
        return max((child.score for child in self.tree.children(round_)), default=None)


Listener = Callable[[SearchSession, Turn], None]


def session_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable: the same parts, the same seed, on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
