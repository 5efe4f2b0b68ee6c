# SPDX-License-Identifier: Apache-2.0
"""Training trains on the split that it is scored on, and validation validates on another."""

from pathlib import Path
from typing import Literal

import pytest
from omegaconf import OmegaConf

from aflow_env.cli.compose import load
from aflow_env.errors import ConfigError
from aflow_env.training.launch.split_check import check_splits
from aflow_env.training.rollout.search_problems import rows, write_parquet

Split = Literal["train", "validate"]


def check(**files: object) -> None:
    check_splits(OmegaConf.create({"data": {"train_files": "train", "val_files": "validate", **files}}))


@pytest.mark.parametrize(
    ("key", "own", "other"), [("train_files", "train", "validate"), ("val_files", "validate", "train")]
)
def test_rows_of_the_other_split_are_named_whether_it_is_a_name_or_a_file(
    tmp_path: Path, key: str, own: Split, other: Split
) -> None:
    files = {name: str(tmp_path / f"{name}.parquet") for name in (own, other)}
    for name, file in files.items():
        write_parquet(rows(load(()), name), Path(file))
    for good in (own, files[own], [own, files[own]]):
        check(**{key: good})
    for bad, named in ((other, other), (files[other], files[other]), ([own, files[other]], files[other])):
        with pytest.raises(ConfigError, match=f"data.{key}={named} has rows of the split {other}: .*data.{key}={own}"):
            check(**{key: bad})


def test_a_file_without_search_problems_is_named_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello")
    for file in (tmp_path / "none.parquet", tmp_path / "text.parquet"):
        with pytest.raises(ConfigError, match=rf"data\.val_files={file} does not hold search problems.*") as caught:
            check(val_files=str(file))
        assert "\n" not in str(caught.value), "one paragraph"
