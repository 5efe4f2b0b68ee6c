# SPDX-License-Identifier: Apache-2.0
"""`aflow-env import WORKSPACE`: a search of AFlow's as a run of ours, to look at, test and go on with."""

from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.compose import load, values
from aflow_env.cli.options import AFLOW_ROUNDS, UNGUIDED, AsJson, Overrides
from aflow_env.cli.output import print_json
from aflow_env.errors import ConfigError
from aflow_env.search import exchange
from aflow_env.search.findings import overview
from aflow_env.search.settings import hold
from aflow_env.search.store import SessionKey, Store
from aflow_env.tasks import TASKS, load_task
from aflow_env.workflow.aflow_workspace import read_workspace


def import_workspace(
    workspace: Annotated[Path, typer.Argument(help="AFlow's folder of a data set, such as workspace/GSM8K.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make; default: runs/DATASET.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read AFlow's rounds, scores and experience into a run; with an executor=... its config is kept for `resume`."""
    found = read_workspace(workspace)
    folder, given = out or Path("runs") / found.dataset, list(overrides or ())
    named = values(given)
    task = str(named["task"]) if "task" in named else _task(found.dataset)
    key, config = SessionKey(task, int(named.get("seed", 0))), None
    if "executor" in named:
        config = load([f"task={task}", *given, f"run_dir={folder}"], defaults=(*UNGUIDED, f"rounds={AFLOW_ROUNDS}"))
        task = load_task(config.task).spec.name
        key = SessionKey(task, config.seed)
    store = Store(folder / "run.sqlite")
    try:
        if config:
            hold(store, config)
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


def _task(dataset: str) -> str:
    if dataset.lower() not in TASKS:
        raise ConfigError(
            f"the data set {dataset} is none of {', '.join(TASKS)}: say by task=NAME what its problems are "
            "(docs/tasks.md)"
        )
    return dataset.lower()
