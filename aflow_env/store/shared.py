# SPDX-License-Identifier: Apache-2.0
"""The parts that all processes of a run share: its store, its ledger, the limits of its providers.

`Parts.local` opens the run's files in this process, beside other processes of this machine. In a run of several
machines one process owns the files and the others ask it (training/nodes/owner.py).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aflow_env.config import AflowConfig, LLMConfig
from aflow_env.evaluation.evaluator import EvaluationCache, Lock
from aflow_env.files import writing
from aflow_env.llm.budget import Account, Ledger
from aflow_env.llm.provider_limits import ProviderLimits
from aflow_env.llm.record import CompletionLog
from aflow_env.soon import Soon
from aflow_env.store.database import store_file
from aflow_env.store.experience import Entry, Evaluated
from aflow_env.store.node_rows import JSON, DrawnProposal, RoundEnd
from aflow_env.store.store import SessionKey, Store, StoredSession


class RunStore(EvaluationCache, CompletionLog, Protocol):
    """The methods of `Store` that sessions use. Each is on file once it is answered.

    Repeating a call changes nothing, except that the failures in `put_many` are noted twice.
    """

    def open_session(self, key: SessionKey, task: str) -> Soon[StoredSession]: ...
    def record(self, key: SessionKey, ended: RoundEnd, payload: JSON = None) -> Soon[None]: ...
    def save_proposals(self, key: SessionKey, proposals: Sequence[DrawnProposal]) -> Soon[None]: ...
    def evaluated(self, task: str, before: int) -> Soon[list[Evaluated]]: ...
    def set_state(self, key: SessionKey, state: JSON) -> Soon[None]: ...
    def experience(
        self, task: str, digest: str, key: SessionKey, limit: int, unseen: int | None = None
    ) -> Soon[list[Entry]]: ...


@dataclass(frozen=True)
class Parts:
    """`recording` is the log that a replay reads (None: the store). `cache` is the log that runs share, if any.

    `limits` makes a provider's gates. `turn` makes a lock that lets one evaluation of a workflow in at a time.
    """

    store: RunStore
    ledger: Account
    recording: CompletionLog | None
    cache: CompletionLog | None
    limits: Callable[[LLMConfig, str], ProviderLimits]
    turn: Callable[[str], Lock]
    close: Callable[[], None]

    @classmethod
    def local(cls, config: AflowConfig, later: bool = True) -> "Parts":
        """Open the run's files. `later` makes missing ones at their first use, so a run that is refused leaves none.

        Raises ConfigError for a recording that is not there.
        """
        recording, cache = open_recording(config), open_cache(config)
        folder = Path(config.run_dir)
        files = [folder / name for name in ("run.sqlite", "ledger.sqlite")]
        with writing(folder, "run_dir"):
            missing = [later and not file.exists() for file in files]
        store, ledger = Store(files[0], later=missing[0]), Ledger(files[1], later=missing[1])

        def close() -> None:
            for each in filter(None, (store, recording, cache)):
                each.close()

        return cls(store, ledger, recording, cache, ProviderLimits, lambda _: asyncio.Lock(), close)


def open_recording(config: AflowConfig) -> Store | None:
    """Open the store of a replay's recording. None means the run's own. Raises ConfigError where there is none."""
    return Store(store_file("recording", config.recording, "a recorded")) if config.recording else None


def open_cache(config: AflowConfig) -> Store | None:
    """Open the completions that runs share, made where they are missing. Raises ConfigError."""
    if config.cache is None:
        return None
    folder = Path(config.cache)
    with writing(folder, "cache"):
        folder.mkdir(parents=True, exist_ok=True)
    return Store(folder / "completions.sqlite")
