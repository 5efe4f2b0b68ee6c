# SPDX-License-Identifier: Apache-2.0
"""`aflow-env export RUN`: a run as a workspace that AFlow continues, or its best workflow as one Python module."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.options import AsJson, Run, open_run
from aflow_env.cli.output import print_json
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.search.exchange import workspace_of
from aflow_env.search.findings import best_node, workflow_of
from aflow_env.search.settings import stored_config
from aflow_env.tasks import load_task
from aflow_env.tasks.base import Problem
from aflow_env.workflow.aflow_folder import write_text
from aflow_env.workflow.aflow_workspace import write_workspace
from aflow_env.workflow.standalone import standalone_module


def export(
    run: Run,
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
