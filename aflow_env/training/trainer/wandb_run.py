# SPDX-License-Identifier: Apache-2.0
"""A training run in wandb: figures of the search, the leading workflows, the tree, the best workflow as an artifact.

Scalars go through verl's tracking, so that every logger (console, TensorBoard, JSONL) has them; tables, pages and
artifacts are wandb's alone. A run that is resumed continues under the id that lies beside its checkpoints. wandb keeps
what it logged of steps after the last checkpoint, and refuses to log those steps again.
"""

import os
import secrets
from contextlib import closing
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aflow_env.report.html.tree_page import tree_page
from aflow_env.report.runs import read_run
from aflow_env.report.tracking import TOP_COLUMNS, predictions, run_figures, top_workflows
from aflow_env.store.read_only import ReadOnlyStore
from aflow_env.training.launch.verl_lines import marked
from aflow_env.training.trainer.packages import installed

ID_FILE = "wandb_run_id"
AGAINST = {"rounds": "aflow/run/rounds", "cost": "aflow/run/cost_usd", "seconds": "aflow/run/seconds"}
"""The axes of the best score, each in a panel of its own."""


def continue_run(config: DictConfig) -> None:
    """Give wandb the id of this run folder, in the driver and before Ray; an id that the user set stays."""
    loggers = config.trainer.logger
    if "wandb" not in ([loggers] if isinstance(loggers, str) else loggers) or "WANDB_RUN_ID" in os.environ:
        return
    file = Path(config.trainer.default_local_dir) / ID_FILE
    if config.trainer.resume_mode == "disable" or not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_hex(4))
    os.environ["WANDB_RUN_ID"] = file.read_text().strip()
    os.environ.setdefault("WANDB_RESUME", "allow")


def figures(run_dir: str, seconds: float) -> dict[str, float]:
    """Return the scalars of the run so far, for every logger; the best score is there once for each axis."""
    with closing(ReadOnlyStore(Path(run_dir) / "run.sqlite")) as store:
        found = run_figures(store, seconds)
    best = found.get("aflow/run/best_score")
    return found if best is None else found | {f"aflow/best_by/{name}": best for name in AGAINST}


def show(loggers: dict[str, Any], run_dir: str, step: int, last: bool) -> None:
    """Send wandb, where it is a logger, top workflows and predictions; at the end the tree and the best workflow."""
    if "wandb" not in loggers:
        return
    import wandb

    run: Any = wandb.run
    run.config.update({"versions": installed()}, allow_val_change=True)
    for name, axis in AGAINST.items():
        run.define_metric(f"aflow/best_by/{name}", step_metric=axis)
    path = Path(run_dir)
    with closing(ReadOnlyStore(path / "run.sqlite")) as store:
        rows = [list(row) for row in top_workflows(store)]
        media: dict[str, Any] = {"aflow/top_workflows": wandb.Table(columns=list(TOP_COLUMNS), data=rows)}
        if last and rows:
            media["aflow/tree"] = wandb.Html(tree_page(store, run.name or "run"), inject=False)
    if points := predictions(read_run(path / "run.sqlite")):
        table = wandb.Table(columns=["predicted", "score"], data=[list(point) for point in points])
        media["aflow/q_calibration"] = wandb.plot.scatter(
            table, "predicted", "score", title="Predicted against realised score"
        )
    run.log(media, step=step)
    if last and (path / "best" / "graph.py").is_file():
        artifact = wandb.Artifact(f"workflow-{run.id}", type="workflow")
        artifact.add_dir(str(path / "best"))
        run.log_artifact(artifact)
    if last and run.settings.mode == "offline":
        print(marked(f"wandb is offline; this uploads the run: wandb sync {Path(run.dir).parent}"), flush=True)


def finish(tracking: Any) -> None:
    """End the run with every logger of verl's `Tracking`, and wandb's own process with it.

    Left to the interpreter's end, wandb may find that Ray has stopped that process first, and say so in a traceback.
    """
    tracking.finish()
    if "wandb" in tracking.logger:
        import wandb

        wandb.teardown()
