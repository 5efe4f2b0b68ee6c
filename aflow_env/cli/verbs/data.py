# SPDX-License-Identifier: Apache-2.0
"""`aflow-env data`: the search problems of a config as parquet files."""

from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.compose import load
from aflow_env.files import writing
from aflow_env.screen import say


def data(
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and validate.parquet.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the aflow: node")] = None,
) -> None:
    """Write the search problems; use them by data.train_files=OUT/train.parquet data.val_files=OUT/validate.parquet."""
    from aflow_env.training.rollout.search_problems import rows, write_parquet

    config = load(overrides or ())
    for split in ("train", "validate"):
        found = rows(config, split)
        with writing(out):
            write_parquet(found, out / f"{split}.parquet")
        say(f"{out / split}.parquet: {len(found)} search problems of {config.task.name}")
