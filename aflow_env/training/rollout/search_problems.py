# SPDX-License-Identifier: Apache-2.0
"""Search problems as a verl dataset: nobody writes parquet by hand.

verl asks its `data.custom_cls` for a map-style dataset over `data.train_files` and `data.val_files`. Here those name a
split (`train` or `validate`), and the rows follow from `data.aflow`, the same `aflow:` node that everything else
reads. A parquet written by `aflow-env data` works in place of a split name and gives the same rows.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, ListConfig
from torch.utils.data import Dataset

from aflow_env.config import AflowConfig, parse
from aflow_env.errors import ConfigError

VALIDATE_SEEDS_FROM = 1_000_000
"""Validation seeds start here, so that no training row ever shares one."""


@dataclass(frozen=True)
class Row:
    """One search problem: the task, the seed of its draws, where it starts and which split its workflows are scored
    on."""

    index: int
    task: str
    seed: int
    start: str
    split: Literal["train", "validate"]


def rows(config: AflowConfig, split: Literal["train", "validate"]) -> list[Row]:
    """The search problems of a split, in order."""
    count = config.problems.train if split == "train" else config.problems.validate_
    first = 0 if split == "train" else VALIDATE_SEEDS_FROM
    return [Row(index, config.task.name, first + index, config.problems.start, split) for index in range(count)]


def read_parquet(path: Path, task: str) -> list[Row]:
    """Rows that `aflow-env data` wrote for this task. Raises ConfigError naming the file and what is wrong with it."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ConfigError(
            f"data file {path} does not exist: name a split (train, validate) or a file by `aflow-env data`"
        )
    try:
        found = [Row(**entry) for entry in pq.read_table(path).to_pylist()]
    except (TypeError, OSError, ValueError) as error:
        raise ConfigError(
            f"data file {path} does not hold search problems ({error}): write it by `aflow-env data`"
        ) from error
    if others := sorted({str(row.task) for row in found} - {task}):
        raise ConfigError(
            f"data file {path} holds search problems of {', '.join(others)}, and aflow.task.name={task} is what would "
            "be trained: choose the file's task (aflow/task=NAME), or write it again for this one (aflow-env data)"
        )
    return found


def write_parquet(rows_: list[Row], path: Path) -> None:
    """The inverse of `read_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows_]), path)


class SearchProblems(Dataset[dict[str, Any]]):
    """verl's dataset protocol over `Row`s. `config` is verl's `data` node, which carries the `aflow` node.

    Raises ConfigError for a file that does not hold rows of the task, and for fewer training rows than a step takes.
    """

    def __init__(
        self,
        data_files: str | ListConfig | list[str],
        tokenizer: Any,
        config: DictConfig,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        aflow = parse(config.aflow)
        self.rows = [row for name in names(data_files) for row in _split_or_file(aflow, name)]
        if max_samples > 0:
            self.rows = self.rows[:max_samples]
        if names(data_files) == names(config.get("train_files", "")):  # verl does not tell a dataset which it is
            _check_batch(len(self.rows), config)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row = self.rows[item]
        return {
            "raw_prompt": [
                {"role": "user", "content": f"Search for a better workflow for {row.task}, seed {row.seed}."}
            ],
            "data_source": f"aflow/{row.task}",
            "reward_model": {"style": "aflow", "ground_truth": ""},
            "index": row.index,
            "extra_info": asdict(row),
            "agent_name": "aflow_search",
            "dummy_tensor": torch.zeros(1, dtype=torch.uint8),  # verl sizes a batch by its tensors
        }


def names(files: str | ListConfig | list[str]) -> list[str]:
    """The splits and files that a key of verl's `data` node names: one, or a list."""
    return [files] if isinstance(files, str) else list(files)


def _split_or_file(config: AflowConfig, name: str) -> list[Row]:
    if name == "train":
        return rows(config, "train")
    if name == "validate":
        return rows(config, "validate")
    return read_parquet(Path(name), config.task.name)


def _check_batch(count: int, data: DictConfig) -> None:
    """verl leaves out a batch that is not full: without a full one, training has no step."""
    size = data.get("train_batch_size", 0)
    if count < size:
        raise ConfigError(
            f"data.train_batch_size={size}: data.train_files={data.train_files} has {count} search problems "
            f"(aflow.problems.train={data.aflow.problems.train}, data.train_max_samples="
            f"{data.get('train_max_samples', -1)}), so no step would be full: have {size} or more, or set "
            f"data.train_batch_size={max(count, 1)} or less"
        )
