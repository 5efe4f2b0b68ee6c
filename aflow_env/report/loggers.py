# SPDX-License-Identifier: Apache-2.0
"""Loggers of a search without a trainer: wandb, TensorBoard, JSON lines. Each gets the same scalars by round.

Their files are in the run folder, and a resumed run appends to them: `wandb/` (offline without a key), `tensorboard/`,
`metrics.jsonl`.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from aflow_env.config import AflowConfig
from aflow_env.report.packages import installed
from aflow_env.report.wandb_log import kept_id, prepare_environment, show_run
from aflow_env.store.settings import as_plain

PROJECT = "aflow_env"


class Logger(Protocol):
    """A destination of a run's scalars. `libraries` are those of the extra `log` that it needs."""

    libraries: ClassVar[tuple[str, ...]]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the metrics of a step."""
        ...

    def end(self, step: int) -> str:
        """Log what belongs to the end of a search, and return a line on how to read the log."""
        ...

    def close(self) -> None:
        """Write everything to disk and close."""
        ...


class JsonLines:
    """A line a step: {"step": n, "data": {name: value}}, as verl's file logger writes them."""

    libraries: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AflowConfig) -> None:
        self._file = (Path(config.run_dir) / "metrics.jsonl").open("a", encoding="utf-8")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._file.write(f"{json.dumps({'step': step, 'data': dict(metrics)})}\n")
        self._file.flush()

    def end(self, step: int) -> str:
        return f"metrics: {self._file.name}"

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Scalars for `tensorboard --logdir RUN/tensorboard`, written by the library alone, without torch."""

    libraries: ClassVar[tuple[str, ...]] = ("tensorboard",)

    def __init__(self, config: AflowConfig) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._folder = Path(config.run_dir) / "tensorboard"
        self._writer = EventFileWriter(str(self._folder))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def end(self, step: int) -> str:
        return f"scalars: tensorboard --logdir {self._folder}"

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """wandb's run: scalars, tables, the tree, the best workflow. A sweep sets the group by WANDB_RUN_GROUP."""

    libraries: ClassVar[tuple[str, ...]] = ("wandb", "jinja2")

    def __init__(self, config: AflowConfig) -> None:
        prepare_environment()
        import wandb

        folder = Path(config.run_dir)
        self._run_dir = config.run_dir
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.resolve().name,
            id=os.environ.get("WANDB_RUN_ID") or kept_id(folder),
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or folder,
            config={"aflow": as_plain(config), "versions": installed()},
            settings=wandb.Settings(silent=True),
        )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def end(self, step: int) -> str:
        return show_run(self._run, self._run_dir, step, last=True) or f"wandb: {self._run.url}"

    def close(self) -> None:
        import wandb

        self._run.finish()
        wandb.teardown()


LOGGERS: dict[str, type[JsonLines] | type[TensorBoard] | type[Wandb]] = {
    "jsonl": JsonLines,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}
"""Each opens its files in the run folder, where the run's store must be."""
