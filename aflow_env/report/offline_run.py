# SPDX-License-Identifier: Apache-2.0
"""Read the metrics that a run logged to wandb offline.

wandb 0.31 ships no Python reader for its `.wandb` files. They are a LevelDB log after a header of seven bytes: blocks
of 32 KiB, records of (crc32, 16-bit length, type), types full, first, middle, last; each whole record is a protobuf
`Record`. Checksums are not verified, and a file that a killed run cut short is read as far as it goes.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def read_offline_run(path: Path) -> OfflineRun:
    """Read the run of a `.wandb` file, or the latest one of a folder.

    Raises FileNotFoundError when there is none, ValueError for a file that is no wandb log.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    file = path if path.is_file() else max(path.glob("**/*.wandb"), default=None, key=lambda each: each.stat().st_mtime)
    if file is None:
        raise FileNotFoundError(f"{path}: there is no .wandb file")
    name, group = "", ""
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for payload in _payloads(file.read_bytes(), file):
        record = Record()
        record.ParseFromString(payload)
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


def _payloads(data: bytes, file: Path) -> Iterator[bytes]:
    """Yield each whole record of the log; a half-written one at the end is dropped."""
    if data[:4] != b":W&B":
        raise ValueError(f"{file} is no wandb log")
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
