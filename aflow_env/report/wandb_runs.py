# SPDX-License-Identifier: Apache-2.0
"""Read training runs from wandb, where their stores are elsewhere: offline folders, or a project with a key.

Such a run has a config, a curve and closing figures, and no rounds. Offline folders of one name, side by side, are
parts of one resumed run. No test reads a project online, since that needs a key.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aflow_env.errors import ConfigError
from aflow_env.report.offline_run import OfflineRun, read_offline_run
from aflow_env.report.runs import RunRecord
from aflow_env.store.settings import flat

SCORES = ("start", "best", "test")


def offline_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Read the runs of every `.wandb` file at or below the paths. Raises ConfigError for a file that is none."""
    files = [[path] if path.is_file() else sorted(path.glob("**/*.wandb")) for path in paths]
    parts: dict[tuple[str, Path], list[OfflineRun]] = {}
    for file in dict.fromkeys(file.resolve() for found in files for file in found):
        try:
            part = read_offline_run(file)
        except ValueError as error:
            raise ConfigError(f"{file}: {error}") from error
        if part.name:  # else the run has begun this instant
            parts.setdefault((part.name, file.parent.parent), []).append(part)
    return [_run(name, folder, found) for (name, folder), found in parts.items()]


def online_runs(project: str) -> list[RunRecord]:
    """Read the runs of `entity/project`. Raises ConfigError without a key."""
    if "WANDB_API_KEY" not in os.environ:
        raise ConfigError(f"{project}: there is no such folder; to read it as a wandb project set WANDB_API_KEY")
    import wandb

    parts = (
        OfflineRun(each.name, each.group or "", dict(each.config), tuple(each.scan_history()))
        for each in wandb.Api().runs(project)
    )
    return [_run(part.name, Path(project), [part]) for part in parts]


def _run(name: str, path: Path, parts: Iterable[OfflineRun]) -> RunRecord:
    config: dict[str, Any] = {}
    history: dict[str, Any] = {}
    curve: dict[int, float] = {}
    for part in parts:
        config |= part.config
        for row in part.history:
            history |= row
            if "aflow/best_score" in row:
                curve[int(row["_step"])] = float(row["aflow/best_score"])
    search = config.pop("aflow", {})
    others = {key: value for key, value in flat(config).items() if not key.startswith(("_", "data.aflow."))}
    return RunRecord(
        name=name,
        path=path,
        config=others | flat(search),
        rounds=(),
        closing={score: dict(_figures(history, score)) for score in SCORES if f"aflow/final/{score}_n" in history},
        cost_usd=history.get("aflow/final/cost_usd", history.get("aflow/run/cost_usd")),
        curve=tuple(sorted(curve.items())),
    )


def _figures(history: Mapping[str, Any], score: str) -> Iterator[tuple[str, Any]]:
    name = f"aflow/final/{score}"
    yield "score", float(history[f"{name}_score"])
    yield "ci95", [float(history[f"{name}_low"]), float(history[f"{name}_high"])]
    yield "n", int(history[f"{name}_n"])
