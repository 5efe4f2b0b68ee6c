# SPDX-License-Identifier: Apache-2.0
"""Read training runs from wandb, where their stores are elsewhere: offline folders, or a project with a key.

Such a run has a config, a curve and closing figures, and no rounds. Offline folders of one name, side by side, are
parts of one resumed run. No test reads a project online, since that needs a key.

wandb 0.31 ships no Python reader for its `.wandb` files. They are a LevelDB log after a header of seven bytes: blocks
of 32 KiB, records of (crc32, 16-bit length, type), types full, first, middle, last; each whole record is a protobuf
`Record`. Checksums are not verified, and a file that a killed run cut short is read as far as it goes.
"""

import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aflow_env.errors import ConfigError
from aflow_env.report.runs import RunRecord
from aflow_env.store.settings import flat

SCORES = ("start", "best", "test")
HEADER, BLOCK, RECORD_HEAD = 7, 32_768, 7
FULL, FIRST, LAST = 1, 2, 4


@dataclass(frozen=True)
class OfflineRun:
    """A run's name, group and config, and one dictionary of metrics a logged step, in order."""

    name: str
    group: str
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]

    def column(self, name: str) -> list[Any]:
        """Return a metric's values in the order logged; steps without it are left out."""
        return [row[name] for row in self.history if name in row]


def offline_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Read the runs of every `.wandb` file at or below the paths. Raises ConfigError for a file that is none."""
    files = [[path] if path.is_file() else sorted(path.glob("**/*.wandb")) for path in paths]
    parts: dict[tuple[str, Path], list[OfflineRun]] = {}
    for file in dict.fromkeys(file.resolve() for found in files for file in found):
        part = read_offline_run(file)
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
    closing = {}
    for score in SCORES:
        if (key := f"aflow/final/{score}_n") in history:
            value, low, high = (float(history[f"aflow/final/{score}_{part}"]) for part in ("score", "low", "high"))
            closing[score] = {"score": value, "ci95": [low, high], "n": int(history[key])}
    search = config.pop("aflow", {})
    others = {key: value for key, value in flat(config).items() if not key.startswith(("_", "data.aflow."))}
    return RunRecord(
        name=name,
        path=path,
        config=others | flat(search),
        rounds=(),
        closing=closing,
        cost_usd=history.get("aflow/final/cost_usd", history.get("aflow/run/cost_usd")),
        curve=tuple(sorted(curve.items())),
    )


def read_offline_run(path: Path) -> OfflineRun:
    """Read the run of a `.wandb` file, or the latest one of a folder.

    Raises FileNotFoundError when there is none, ConfigError for a file that is no wandb log.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    file = path if path.is_file() else max(path.glob("**/*.wandb"), default=None, key=lambda each: each.stat().st_mtime)
    if file is None:
        raise FileNotFoundError(f"{path}: there is no .wandb file")
    name, group = "", ""
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for payload in _payloads(file):
        record = Record()
        try:
            record.ParseFromString(payload)
        except DecodeError as error:
            raise ConfigError(f"{file} is damaged ({error}): move it away") from error
        if record.HasField("run"):
            name, group = record.run.display_name, record.run.run_group
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("config"):  # set after the start
            config |= {_key(item): json.loads(item.value_json) for item in record.config.update}
        if record.HasField("history"):
            history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
    return OfflineRun(name, group, config, tuple(history))


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def _payloads(file: Path) -> Iterator[bytes]:
    """Yield each whole record of the log; a half-written one at the end is dropped."""
    data = file.read_bytes()
    if not b":W&B".startswith(data[:4]):  # a log that has just begun may be empty
        raise ConfigError(f"{file} is no wandb log: move it away")
    place, parts = HEADER, b""
    while place + RECORD_HEAD <= len(data):
        if BLOCK - place % BLOCK < RECORD_HEAD:  # too little room for a head: the rest of the block is padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        place += RECORD_HEAD
        if kind == 0 or place + length > len(data):
            return
        parts = data[place : place + length] if kind in (FULL, FIRST) else parts + data[place : place + length]
        place += length
        if kind in (FULL, LAST):
            yield parts
