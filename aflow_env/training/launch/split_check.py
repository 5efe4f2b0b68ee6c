# SPDX-License-Identifier: Apache-2.0
"""Training rows are of the split `train`, and validation rows are not; checked before Ray starts.

The agent loop goes by a row's split, not by who asked for it: a validation row in a training step would be scored on
the problems that judge the run and teach no Q, and a training row in a validation would be calibrated on.
"""

from pathlib import Path

from omegaconf import DictConfig

from aflow_env.errors import ConfigError
from aflow_env.training.rollout.search_problems import names

FILES = {"train_files": "train", "val_files": "validate"}
"""Keys of verl's `data` node, and the split that each wants."""


def check_splits(config: DictConfig) -> None:
    """Raises ConfigError naming the key, the file and the split in it that does not belong there."""
    for key, wanted in FILES.items():
        for name in names(config.data[key]):
            for split in sorted(_splits(key, name)):
                if (split == "train") != (wanted == "train"):
                    raise ConfigError(
                        f"data.{key}={name} has rows of the split {split}: set data.{key}={wanted}, or the file "
                        f"{wanted}.parquet that `aflow-env data` writes"
                    )


def _splits(key: str, name: str) -> set[str]:
    """The splits of the rows that this name stands for: its own, or those in a parquet."""
    if name in FILES.values():
        return {name}
    import pyarrow.parquet as pq

    try:
        return set(pq.read_table(Path(name), columns=["split"])["split"].unique().to_pylist())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"data.{key}={name} does not hold search problems ({str(error).splitlines()[0]}): name a split (train, "
            "validate) or a file by `aflow-env data`"
        ) from error
