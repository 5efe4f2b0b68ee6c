# SPDX-License-Identifier: Apache-2.0
"""`aflow-env export RUN`: a run as a workspace that AFlow continues, or its best workflow as one Python module.

`aflow-env import WORKSPACE`: a search of AFlow's as a run of ours, to show, test and resume.
"""

from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.arguments import AFLOW_ROUNDS, AsJson, Overrides, RunFolder, best_of, search_config, store_of
from aflow_env.cli.compose import assigned, values
from aflow_env.cli.output import print_json
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.files import write_text
from aflow_env.screen import one_line, plural, say
from aflow_env.store import exchange
from aflow_env.store.exchange import workspace_of
from aflow_env.store.findings import overview
from aflow_env.store.settings import lock, stored_config
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks import TASKS, load_task
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.aflow.aflow_workspace import read_workspace, write_workspace
from aflow_env.workflow.aflow.standalone import standalone_module
from aflow_env.workflow.gate import Violation, check
from aflow_env.workflow.program import TaskSpec, Workflow


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder to write AFlow's workspace to; with --standalone a .py file.")],
    standalone: Annotated[bool, typer.Option("--standalone", help="One module, with an LLM client alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write AFlow's workspace (continue it with AFlow's --optimized_path), or the best workflow as a module."""
    with Store(store_of(run)) as store:
        config = stored_config(store)
        node, workflow = best_of(store, run)
        key = next(key for key in store.sessions() if key.id == node["session"])
        if standalone:
            score = f"{node['score']:.3f} on {plural(node['n'], 'problem')}"
            title = f"{store.sessions()[key]}, workflow {node['digest']}, {score}"
            write_text(out, standalone_module(workflow, title, _answers(config)))
            written = out
        else:
            dataset = store.meta("dataset") or (load_task(config.task).spec.dataset if config else key.problem.upper())
            written = write_workspace(workspace_of(store, key, dataset, _problems(config)), out, _answers(config))
    if as_json:
        print_json({"written": str(written), "best": node})
    else:
        say(f"written: {written}")


def import_workspace(
    workspace: Annotated[Path, typer.Argument(help="AFlow's folder of a data set, such as workspace/GSM8K.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make; default: runs/DATASET.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read AFlow's rounds, scores and experience into a run; with an executor=... its config is saved for `resume`."""
    found = read_workspace(workspace)
    folder = out or Path("runs") / found.dataset
    config, kept = _config(found.dataset, folder, list(overrides or ()))
    spec = load_task(config.task).spec
    with Store(folder / "run.sqlite") as store:
        try:
            if kept:
                lock(store, config)
            store.set_meta("dataset", found.dataset)
            exchange.import_workspace(store, SessionKey(spec.name, config.seed), spec.name, found)
        except ConfigError:
            raise
        except ValueError as error:  # the store's: a round of this session ended otherwise before
            raise ConfigError(f"{folder} holds another search already ({error}): name another --out") from error
        said = overview(store)
    refused = {each.number: why for each in found.rounds if (why := _refused(each.workflow, spec))}
    if as_json:
        notes = {"left_out": found.left_out, "refused": refused, "stale": list(map(str, found.stale))}
        print_json({**said, "run": str(folder), **notes})
        return
    say(f"{plural(len(found.rounds), 'round')} of {found.dataset} in {folder}")
    for number, why in found.left_out.items():
        say(f"left out: round {number}, {why}")
    for number, why in refused.items():
        say(f"round {number} keeps AFlow's score, but would not run here: {one_line(why)}")
    for file in found.stale:
        say(f"not counted: {file}, which belongs to no score of its round in results.json")


def _problems(config: AflowConfig | None) -> dict[str, Problem]:
    """Return the validate problems by digest, for the logs of failed cases; without the data there are no logs."""
    if config is None:
        return {}
    try:
        return {problem.digest: problem for problem in load_task(config.task).load("validate", None, config.seed)}
    except ConfigError as error:
        say(f"aflow-env: the logs of failed cases are left out: {error}", error=True)
        return {}


def _answers(config: AflowConfig | None) -> str:
    """Return the task's kind of answers, for Vote; "text" for a run without a config or task."""
    try:
        return load_task(config.task).spec.answers if config else "text"
    except ConfigError as error:
        say(f"aflow-env: Vote counts whole texts there: {error}", error=True)
        return "text"


def _refused(workflow: Workflow, spec: TaskSpec) -> str:
    """Return why the gate refuses a workflow, "" for one that may run."""
    try:
        check(workflow, spec)
    except Violation as error:
        return str(error)
    return ""


def _config(dataset: str, folder: Path, given: list[str]) -> tuple[AflowConfig, bool]:
    """Return the config of the run, and whether to save it: an import without an executor is only shown.

    Raises ConfigError for a key that would then be ignored.
    """
    named = values(given)
    kept = any(key.partition(".")[0] == "executor" for key in named)
    if not kept and (ignored := sorted(named.keys() - {"task", "task.name", "seed"})):
        raise ConfigError(
            f"{ignored[0]}={named[ignored[0]]}: without an executor no config is kept; name the executor too "
            f"(executor=...), or give {ignored[0]} to `aflow-env resume`"
        )
    if "task" not in named and dataset.lower() not in TASKS:
        raise ConfigError(f"the data set {dataset} is none of {', '.join(TASKS)}: name its task by task=NAME")
    task = [] if "task" in named else [f"task={dataset.lower()}"]
    any_task = [] if kept else ["executor=policy"]  # the default, a simulation, knows arithmetic alone
    return search_config([*task, *given, *any_task, assigned("run_dir", folder)], f"rounds={AFLOW_ROUNDS}"), kept
