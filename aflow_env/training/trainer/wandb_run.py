# SPDX-License-Identifier: Apache-2.0
"""Log a training in wandb as every run (report/loggers.py), beside verl's own tracking.

Scalars go through verl's tracking, so that every logger (console, TensorBoard, JSONL) has them. Tables, pages and
artifacts are wandb's alone. A resumed run continues under the id beside its checkpoints. wandb saves the metrics of
steps after the last checkpoint, and refuses to log these steps again.
"""

import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aflow_env.report.loggers import installed, kept_id, show_run
from aflow_env.training.launch.log_lines import marked


def continue_run(config: DictConfig) -> None:
    """Give wandb the id of this run folder, in the driver before Ray; an id of the user's stays."""
    loggers = config.trainer.logger
    if "wandb" not in ([loggers] if isinstance(loggers, str) else loggers) or "WANDB_RUN_ID" in os.environ:
        return
    fresh = config.trainer.resume_mode == "disable"
    os.environ["WANDB_RUN_ID"] = kept_id(Path(config.trainer.default_local_dir), fresh)
    os.environ.setdefault("WANDB_RESUME", "allow")


def show(loggers: dict[str, Any], run_dir: str, step: int, last: bool) -> None:
    """Send wandb, where it is a logger, the tables and pages of report/loggers.py."""
    if "wandb" not in loggers:
        return
    import wandb

    run: Any = wandb.run
    run.config.update({"versions": installed()}, allow_val_change=True)
    if upload := show_run(run, run_dir, step, last):
        print(marked(upload), flush=True)


def finish(tracking: Any) -> None:
    """End every logger of verl's `Tracking`, and wandb's own process.

    At the interpreter's end Ray may stop that process first, and wandb then prints a traceback.
    """
    tracking.finish()
    if "wandb" in tracking.logger:
        import wandb

        wandb.teardown()
