# SPDX-License-Identifier: Apache-2.0
"""`aflow-env export RUN`: a run as a workspace that AFlow continues, or its best workflow as one Python module.

`aflow-env import WORKSPACE`: a search of AFlow's as a run of ours, to look at, test and go on with.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.compose import values
from aflow_env.cli.options import AFLOW_ROUNDS, AsJson, Overrides, RunFolder, open_run, search_config
from aflow_env.cli.output import print_json
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.store import exchange
from aflow_env.store.exchange import workspace_of
from aflow_env.store.findings import best_node, overview, workflow_of
from aflow_env.store.settings import lock, stored_config
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks import TASKS, load_task
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.aflow.aflow_folder import write_text
from aflow_env.workflow.aflow.aflow_workspace import read_workspace, write_workspace
from aflow_env.workflow.aflow.standalone import standalone_module


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder to write AFlow's workspace to; with --standalone a .py file.")],
    standalone: Annotated[bool, typer.Option("--standalone", help="One module, with an LLM client alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write AFlow's workspace (continue it with AFlow's --optimized_path), or the best workflow as a module."""
    with open_run(run) as store:
        config = stored_config(store)
        node = best_node(store)
        if node is None:
            raise ConfigError(f"{run} holds no evaluated workflow yet: go on with aflow-env resume {run}")
        key = next(key for key in store.sessions() if key.id == node["session"])
        if standalone:
            out.parent.mkdir(parents=True, exist_ok=True)
            title = f"{store.sessions()[key]}, workflow {node['digest']}, {node['score']:.3f} on {node['n']} problems"
            write_text(out, standalone_module(workflow_of(store, node["digest"]), title))
            written = out
        else:
            dataset = store.meta("dataset") or (load_task(config.task).spec.dataset if config else key.problem.upper())
            written = write_workspace(workspace_of(store, key, dataset, _problems(config)), out)
    if as_json:
        print_json({"written": str(written), "best": node})
    else:
        print(f"written: {written}")


def _problems(config: AflowConfig | None) -> dict[str, Problem]:
    """The validate problems by digest, for the logs of failed cases; without the data there are no logs."""
    if config is None:
        return {}
    try:
        return {problem.digest: problem for problem in load_task(config.task).load("validate", None, config.seed)}
    except ConfigError as error:
        print(f"aflow-env: the logs of failed cases are left out: {error}", file=sys.stderr)
        return {}


def import_workspace(
    workspace: Annotated[Path, typer.Argument(help="AFlow's folder of a data set, such as workspace/GSM8K.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make; default: runs/DATASET.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read AFlow's rounds, scores and experience into a run; with an executor=... its config is kept for `resume`."""
    found = read_workspace(workspace)
    folder = out or Path("runs") / found.dataset
    config, kept = _config(found.dataset, folder, list(overrides or ()))
    task = load_task(config.task).spec.name
    key = SessionKey(task, config.seed)
    store = Store(folder / "run.sqlite")
    try:
        if kept:
            lock(store, config)
        store.set_meta("dataset", found.dataset)
        exchange.import_workspace(store, key, task, found)
        if as_json:
            left_out = {str(number): why for number, why in found.left_out.items()}
            print_json({**overview(store), "run": str(folder), "left_out": left_out})
            return
    except ValueError as error:  # the store's: a round of this session ended otherwise before
        raise ConfigError(f"{folder} holds another search already ({error}): name another --out") from error
    finally:
        store.close()
    print(f"{len(found.rounds)} rounds of {found.dataset} in {folder}")
    for number, why in found.left_out.items():
        print(f"left out: round {number}, {why}")


def _config(dataset: str, folder: Path, given: list[str]) -> tuple[AflowConfig, bool]:
    """The config of the run, and whether it is one to keep: who imports to look names no executor.

    Raises ConfigError for a key that would then be ignored.
    """
    named = values(given)
    kept = any(key.partition(".")[0] == "executor" for key in named)
    if not kept and (ignored := sorted(named.keys() - {"task", "task.name", "seed"})):
        raise ConfigError(
            f"{ignored[0]}={named[ignored[0]]}: without an executor no config is kept, and this key would be ignored; "
            f"name the executor too (executor=...), or leave {ignored[0]} out and say it to `aflow-env resume`"
        )
    task = [] if "task" in named else [f"task={_task(dataset)}"]
    any_task = [] if kept else ["executor=policy"]  # the default, a simulation, knows arithmetic alone
    return search_config([*task, *given, *any_task, f"run_dir={folder}"], f"rounds={AFLOW_ROUNDS}"), kept


def _task(dataset: str) -> str:
    if dataset.lower() not in TASKS:
        raise ConfigError(
            f"the data set {dataset} is none of {', '.join(TASKS)}: say by task=NAME what its problems are "
            "(docs/tasks.md)"
        )
    return dataset.lower()
