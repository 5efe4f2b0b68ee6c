# SPDX-License-Identifier: Apache-2.0
"""What a benchmark is to the rest: problems split in three, and a scorer. Plain data and one protocol.

A workflow sees `prompt`, `entry_point` and `public_tests` of a problem, and nothing else of it: `answer` and
`hidden_tests` stay in the parent, where `Task.score` uses them (hidden tests go to the child that scores, never to the
child that runs the workflow).
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from aflow_env.workflow.program import TaskSpec

Split = Literal["train", "validate", "test"]


@dataclass(frozen=True)
class Problem:
    """One problem. `id` is unique in its task; `public_tests` are assert statements that a workflow may run."""

    id: str
    prompt: str
    answer: str
    entry_point: str | None = None
    public_tests: tuple[str, ...] = ()
    hidden_tests: str = ""

    @property
    def digest(self) -> str:
        """16 hex digits over everything in the problem: two problems with one digest are the same problem."""
        return content_digest(asdict(self))


@dataclass(frozen=True)
class Score:
    """`value` in [0, 1]; `extracted`: what the scorer took for the answer; `correct`: whether it counts as solved.

    `note` names a limit of the scorer that the answer ran into.
    """

    value: float
    extracted: str
    correct: bool
    note: str = ""


class CodeRun(Protocol):
    """How running tests ended; the sandbox's `Run` is one."""

    @property
    def outcome(self) -> str:
        """`ok` when every test passed; else `timeout`, `crash` or `violation`."""
        ...

    @property
    def error(self) -> str:
        """What the child said when it did not end well."""
        ...


class RunTests(Protocol):
    """Executes `tests` on `solution` in a confined child, then their `check(ENTRY_POINT)` if they define one.

    The sandbox's `run_tests` is one.
    """

    async def __call__(self, solution: str, tests: str, entry_point: str, seconds: float) -> CodeRun:
        """Raises InfrastructureError when the machine, and not the code, failed."""
        ...


class Task(Protocol):
    """A benchmark: its words for AFlow's side (`spec`), its problems, its scorer."""

    @property
    def spec(self) -> TaskSpec:
        """Name, AFlow's folder name, allowed operators, whether workflows take an entry point."""
        ...

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The problems of a split in a fixed order: at most the configured size, and at most `limit`.

        Raises ConfigError, naming file, line and field, when the data cannot be read.
        """
        ...

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Judge a workflow's final output. Only code tasks use `run_code`; its InfrastructureError passes through."""
        ...


def content_digest(value: object) -> str:
    """16 hex digits of SHA-256 over the canonical JSON of `value`."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]
