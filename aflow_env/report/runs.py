# SPDX-License-Identifier: Apache-2.0
"""Read runs from their stores, as plain data.

A run's config is that of its search (`rl_weight`, `selection.c_ucb`, ...), and for a job of a sweep also its overrides
(`algorithm.adv_estimator`, ...), so that reports group by any of them. Nothing is written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from aflow_env.errors import ConfigError
from aflow_env.store.database import JSON, ReadOnlyStore, Reads
from aflow_env.store.findings import last_report, spent_usd
from aflow_env.store.settings import as_plain, flat, stored_config

_COLUMNS = (
    *("session", "step", "round", "parent", "digest", "score", "n", "outcomes", "cost_usd", "calls", "usd_a_problem"),
    *("input_tokens", "output_tokens", "payload"),
)


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A round that ended; a rejected one has no digest and no score.

    `q` is the score that was predicted before the edit was run, if any.
    """

    session: str
    step: int
    round: int
    parent: int | None
    digest: str | None
    score: float | None
    n: int
    outcomes: Mapping[str, int]
    cost_usd: float
    tokens: int
    calls: int
    q: float | None = None
    usd_a_problem: float | None = None

    @property
    def validated(self) -> bool:
        """Whether it was scored on validate problems; training sessions score on training problems."""
        return not self.session.startswith("train/")


@dataclass(frozen=True)
class RunRecord:
    """One run: `rounds` by step, session and round; `closing` is its closing report on all of them, else None.

    `config` has dotted keys. `cost_usd` is the whole bill, None where a price
    is unknown. `curve` has (training step, best score of a session) for a run whose rounds are elsewhere.
    """

    name: str
    path: Path
    config: Mapping[str, JSON]
    rounds: tuple[RoundRecord, ...]
    closing: Mapping[str, JSON] | None
    cost_usd: float | None
    curve: tuple[tuple[int, float], ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether the executor was simulated."""
        return self.config.get("executor.kind") == "simulated"

    @property
    def trained(self) -> bool:
        """Whether a policy was trained in it."""
        return bool(self.curve) or any(each.step > 0 for each in self.rounds)

    @property
    def tokens(self) -> int:
        """Tokens of all its evaluations."""
        return sum(each.tokens for each in self.rounds)


class JobRecord(BaseModel):
    """The file `job.json` of a sweep's job: its overrides, and how it ended."""

    name: str = ""
    status: str = ""
    seconds: float = 0.0
    identity: dict[str, str]


def read_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Read every run at or below the paths, each once, in order. Raises ConfigError for a path without a run."""
    stores: dict[Path, None] = {}
    for path in paths:
        found = list(_stores(path))
        if not found:
            raise ConfigError(f"{path}: there is no run.sqlite in or below it; name run folders")
        stores.update(dict.fromkeys(store.resolve() for store in found))
    return [read_run(store) for store in stores]


def read_run(path: Path) -> RunRecord:
    """Read the run of a store. Raises ConfigError for a file that is none."""
    with ReadOnlyStore(path) as store:
        rounds, report = tuple(_rounds(store)), last_report(store)
        if report and report["nodes"] != sum(each.score is not None for each in rounds):
            report = None  # the search went on since
        return RunRecord(
            name=run_name(path.parent),
            path=path.parent,
            config=_config(store),
            rounds=rounds,
            closing=report,
            cost_usd=spent_usd(store),
        )


def job_record(folder: Path) -> JobRecord | None:
    """Return the record of the sweep's job in a folder, None without one. Raises ConfigError for another file."""
    path = folder / "job.json"
    try:
        return JobRecord.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError as error:
        raise ConfigError(f"{path} is no record of a sweep's job ({error.errors()[0]['msg']}): remove it") from error


def _stores(path: Path) -> Iterator[Path]:
    if path.is_file() and path.suffix == ".sqlite":
        yield path
    elif (path / "run.sqlite").is_file():
        yield path / "run.sqlite"
    else:
        yield from sorted(path.glob("**/run.sqlite"))


def run_name(folder: Path) -> str:
    """Return the name of a run by its folder; a training run's store is `NAME/search`."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "search" and folder.parent.name != "runs" else folder.name


def _config(store: Reads) -> dict[str, JSON]:
    """Return the search's config as dotted keys, and the overrides of a sweep's job."""
    config = stored_config(store)
    found = flat(as_plain(config)) if config else {}
    job = job_record(store.path.parent) or job_record(store.path.parent.parent)
    overrides = job.identity if job else {}
    return {key: value for key, value in overrides.items() if not key.startswith("aflow.")} | found


def _rounds(store: Reads) -> Iterator[RoundRecord]:
    sql = f"SELECT {', '.join(_COLUMNS)} FROM nodes ORDER BY step, session, round"
    for found in store.records(_COLUMNS, sql):
        payload = json.loads(found.pop("payload") or "{}") or {}
        tokens = (found.pop("input_tokens") or 0) + (found.pop("output_tokens") or 0)
        found["outcomes"] = json.loads(found["outcomes"] or "{}")
        found |= {name: found[name] or 0 for name in ("n", "cost_usd", "calls")}
        yield RoundRecord(**found, tokens=tokens, q=payload.get("q"))
