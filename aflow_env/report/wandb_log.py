# SPDX-License-Identifier: Apache-2.0
"""A run in wandb: figures of the search, the leading workflows, the front, the tree, the best workflow as an artifact.

Trainings and searches send the same. A run that is resumed continues under the id that lies in its folder.
"""

import os
import secrets
from contextlib import closing
from pathlib import Path
from typing import Any

from aflow_env.report.runs import read_run
from aflow_env.report.tracking import TOP_COLUMNS, predictions, run_figures, top_workflows
from aflow_env.store.front import NAMES, front
from aflow_env.store.read_only import ReadOnlyStore

ID_FILE = "wandb_run_id"
AGAINST = {"rounds": "aflow/run/rounds", "cost": "aflow/run/cost_usd", "seconds": "aflow/run/seconds"}
"""The axes of the best score, each in a panel of its own."""


def kept_id(folder: Path, fresh: bool = False) -> str:
    """Return the id of a run's folder; `fresh` makes another one."""
    file = folder / ID_FILE
    if fresh or not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_hex(4))
    return file.read_text().strip()


def prepare_environment() -> None:
    """Let wandb run offline without a key, instead of asking for one; processes that start later inherit it."""
    has_key = "WANDB_API_KEY" in os.environ or "api.wandb.ai" in _netrc()
    if not has_key:
        os.environ.setdefault("WANDB_MODE", "offline")


def _netrc() -> str:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return path.read_text() if path.is_file() else ""


def figures(run_dir: str, seconds: float) -> dict[str, float]:
    """Return the scalars of the run so far, for every logger; the best score is there once for each axis."""
    with closing(ReadOnlyStore(Path(run_dir) / "run.sqlite")) as store:
        found = run_figures(store, seconds)
    best = found.get("aflow/run/best_score")
    return found if best is None else found | {f"aflow/best_by/{name}": best for name in AGAINST}


def show_run(run: Any, run_dir: str, step: int, last: bool) -> str:
    """Send wandb's run top workflows, front and predictions; at the end the tree and the best workflow.

    At the end of an offline run, return a line with the command that uploads it, else "".
    """
    import wandb

    from aflow_env.report.html.tree_page import tree_page  # it needs an extra

    for name, axis in AGAINST.items():
        run.define_metric(f"aflow/best_by/{name}", step_metric=axis)
    path = Path(run_dir)
    with closing(ReadOnlyStore(path / "run.sqlite")) as store:
        rows = [list(row) for row in top_workflows(store)]
        media: dict[str, Any] = {"aflow/top_workflows": wandb.Table(columns=list(TOP_COLUMNS), data=rows)}
        if points := front(store):
            table = wandb.Table(columns=list(NAMES), data=[[each[name] for name in NAMES] for each in points])
            media["aflow/front"] = table
            media["aflow/front_plot"] = wandb.plot.line(
                table, "usd_a_problem", "score", title="Best score against USD a problem"
            )
        if last and rows:
            media["aflow/tree"] = wandb.Html(tree_page(store, run.name or "run"), inject=False)
    if predicted := predictions(read_run(path / "run.sqlite")):
        table = wandb.Table(columns=["predicted", "score"], data=[list(point) for point in predicted])
        media["aflow/q_calibration"] = wandb.plot.scatter(
            table, "predicted", "score", title="Predicted against realised score"
        )
    run.log(media, step=step)
    if last and (path / "best" / "graph.py").is_file():
        artifact = wandb.Artifact(f"workflow-{run.id}", type="workflow")
        artifact.add_dir(str(path / "best"))
        run.log_artifact(artifact)
    if not last or run.settings.mode != "offline":
        return ""
    return f"wandb is offline; this uploads the run: wandb sync {Path(run.dir).parent}"
