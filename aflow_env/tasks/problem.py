# SPDX-License-Identifier: Apache-2.0
"""A benchmark: problems in three splits, and a scorer.

A workflow sees only `prompt`, `entry_point` and `public_tests` of a problem. `answer` and `hidden_tests` stay in the
parent for `Task.score`. Hidden tests go to the child that scores, never to the child that runs the workflow.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal, Protocol

from aflow_env.workflow.program import TaskSpec

Split = Literal["train", "validate", "test"]


@dataclass(frozen=True)
class Problem:
    """One problem. `id` is unique in its task. `public_tests` are assert statements that a workflow may run.

    `prelude` is code before a solution, with imports and helpers.
    """

    id: str
    prompt: str
    answer: str
    entry_point: str | None = None
    public_tests: tuple[str, ...] = ()
    hidden_tests: str = ""
    prelude: str = ""

    @cached_property
    def digest(self) -> str:
        """16 hex digits over every field. Problems with equal digests are equal."""
        return content_digest(asdict(self))


@dataclass(frozen=True)
class Score:
    """`value` is in [0, 1], `extracted` the answer that the scorer read, `note` a limit of the scorer.

    `feedback` is the reason of a wrong output for a proposer, without any hint from the hidden tests.
    """

    value: float
    extracted: str
    correct: bool
    note: str = ""
    feedback: str = ""


class CodeRun(Protocol):
    """The result of tests, such as the sandbox's `JailRun`: `ok`, `timeout`, `crash` or `violation`, and the error."""

    @property
    def outcome(self) -> str: ...

    @property
    def error(self) -> str: ...


RunTests = Callable[[str, str, str, float], Awaitable[CodeRun]]
"""Runs tests on a solution in a jailed child, then their `check(ENTRY_POINT)` if they define one, for so many seconds.

The arguments are solution, tests, entry point and seconds. The sandbox's `run_tests` is one. Raises InfrastructureError
when the machine failed.
"""


class Task(Protocol):
    """A benchmark: the spec of its workflows, its problems, its scorer."""

    @property
    def spec(self) -> TaskSpec: ...

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Return the problems of a split in a fixed order, at most the configured size and at most `limit`.

        Raises ConfigError with file, line and field when the data cannot be read.
        """
        ...

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Score a workflow's output. Only code tasks use `run_code`, whose InfrastructureError passes through."""
        ...


def content_digest(value: object) -> str:
    """Return 16 hex digits of SHA-256 over the canonical JSON of `value`."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]
