# SPDX-License-Identifier: Apache-2.0
"""Search problems as a verl dataset.

verl asks its `data.custom_cls` for a map-style dataset over `data.train_files` and `data.val_files`. Each names a split
(`train` or `validate`), whose rows follow from `data.aflow`, or a parquet by `aflow-env data` with the same rows.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, ListConfig
from pydantic import ValidationError
from pydantic.dataclasses import dataclass
from torch.utils.data import Dataset

from aflow_env.config import AflowConfig, explain, parse
from aflow_env.errors import ConfigError
from aflow_env.screen import one_line
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_workflow

VALIDATE_SEEDS_FROM = 1_000_000
"""Validation seeds start here, so that no training row ever shares one."""
Files = str | ListConfig | list[str]


@dataclass(frozen=True)
class Row:
    """A search problem: task, seed of its draws, start workflow, and the split that scores its workflows."""

    index: int
    task: str
    seed: int
    start: str
    split: Literal["train", "validate"]


def rows(config: AflowConfig, split: Literal["train", "validate"]) -> list[Row]:
    """Return the search problems of a split, in order."""
    count, first = config.problems.train, 0
    if split == "validate":
        count, first = config.problems.validate_, VALIDATE_SEEDS_FROM
    return [Row(index, config.task.name, first + index, config.problems.start, split) for index in range(count)]


def read_parquet(path: Path, task: str) -> list[Row]:
    """Read rows that `aflow-env data` wrote for this task. Raises ConfigError that names the file and the fault."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ConfigError(
            f"data file {path} does not exist: name a split (train, validate) or a file by `aflow-env data`"
        )
    try:
        found = [Row(**entry) for entry in pq.read_table(path).to_pylist()]
    except (TypeError, OSError, ValueError) as error:
        said = explain(error, "row") if isinstance(error, ValidationError) else one_line(str(error))
        raise ConfigError(
            f"data file {path} does not hold search problems ({said}): write it by `aflow-env data`"
        ) from error
    if others := sorted({str(row.task) for row in found} - {task}):
        raise ConfigError(
            f"data file {path} holds search problems of {', '.join(others)}, and aflow.task.name={task} is what would "
            "be trained: choose the file's task (aflow/task=NAME), or write it again for this one (aflow-env data)"
        )
    return found


def write_parquet(rows_: list[Row], path: Path) -> None:
    """Write rows as `read_parquet` reads them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows_]), path)


class SearchProblems(Dataset[dict[str, Any]]):
    """Rows by verl's dataset protocol. `config` is verl's `data` node, with the `aflow` node in it.

    Raises ConfigError for a file without rows of the task, and for fewer training rows than a step takes: verl leaves
    other batches out, so the training would have no step.
    """

    def __init__(
        self, data_files: Files, tokenizer: Any, config: DictConfig, processor: Any = None, max_samples: int = -1
    ) -> None:
        aflow = parse(config.aflow)
        found: list[Row] = []
        for name in _names(data_files):
            match name:
                case "train" | "validate":
                    found += rows(aflow, name)
                case _:
                    found += read_parquet(Path(name), aflow.task.name)
        self.rows = found[:max_samples] if max_samples > 0 else found
        training = _names(data_files) == _names(config.get("train_files", ""))  # verl does not tell a dataset
        count, size = len(self.rows), config.get("train_batch_size", 0)
        if training and count < size:
            raise ConfigError(
                f"data.train_batch_size={size}: data.train_files={config.train_files} has {count} search problems "
                f"(aflow.problems.train={config.aflow.problems.train}, data.train_max_samples="
                f"{config.get('train_max_samples', -1)}), so no step would be full: have {size} or more, or set "
                f"data.train_batch_size={max(count, 1)} or less"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row = self.rows[item]
        asked = f"Search for a better workflow for {row.task}, seed {row.seed}."
        return {
            "raw_prompt": [{"role": "user", "content": asked}],
            "data_source": f"aflow/{row.task}",
            "reward_model": {"style": "aflow", "ground_truth": ""},
            "index": row.index,
            "extra_info": asdict(row),
            "agent_name": "aflow_search",
            "dummy_tensor": torch.zeros(1, dtype=torch.uint8),  # verl sizes a batch by its tensors
        }


def _names(files: Files) -> list[str]:
    return [files] if isinstance(files, str) else list(files)


def check_files(data: DictConfig) -> None:
    """Raise ConfigError where a file of verl's `data` node is unusable, or has rows of the wrong split.

    The agent loop goes by a row's split. A validation row in a training step would be scored on the problems that judge
    the run, and teach no Q.
    """
    spec = load_task(parse(data.aflow).task).spec
    for name, wanted in (("train", "train"), ("val", "validate")):
        key = f"{name}_files"
        found = SearchProblems(data[key], None, data, max_samples=data[f"{name}_max_samples"]).rows
        for start in {row.start for row in found}:
            try:
                start_workflow(start, spec)
            except ConfigError as error:
                raise ConfigError(f"data.{key}={data[key]}: {error}") from error
        for split in sorted({row.split for row in found} - {wanted}):
            raise ConfigError(
                f"data.{key}={data[key]} has rows of the split {split}: set data.{key}={wanted}, or the file "
                f"{wanted}.parquet that `aflow-env data` writes"
            )
