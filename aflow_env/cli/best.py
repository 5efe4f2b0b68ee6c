# SPDX-License-Identifier: Apache-2.0
"""`aflow-env best RUN`: the best workflow of a run, printed, and copied to a folder."""

from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.options import AsJson, Run, open_run
from aflow_env.cli.output import print_json, score_text
from aflow_env.errors import ConfigError
from aflow_env.search.findings import best_node, workflow_of
from aflow_env.workflow.aflow_folder import write_workflow


def best(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Copy graph.py and prompt.py to this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the best workflow of a run; what it scored is on the problems that it was chosen by."""
    with open_run(run) as store:
        node = best_node(store)
        if node is None:
            raise ConfigError(f"{run} holds no evaluated workflow yet: go on with aflow-env resume {run}")
        workflow = workflow_of(store, node["digest"])
    if out is not None:
        write_workflow(workflow, out)
    if as_json:
        folder = None if out is None else str(out)
        print_json({**node, "graph": workflow.graph, "prompts": workflow.prompts, "folder": folder})
        return
    print(f"# round {node['round']}, {score_text(node['score'], node['ci95'])}, n={node['n']}")
    print(f"# ---- graph.py\n{workflow.graph.rstrip()}\n\n# ---- prompt.py\n{workflow.prompts.rstrip()}")
    if out is not None:
        print(f"# copied to {out}")
