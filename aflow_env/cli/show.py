# SPDX-License-Identifier: Apache-2.0
"""`aflow-env show RUN`: a run explained from its store alone."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from aflow_env.errors import ConfigError
from aflow_env.search.findings import all_nodes, spent_usd
from aflow_env.search.store import Store

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]


def show(
    run: Annotated[Path, typer.Argument(help="Run folder, or its run.sqlite.")],
    as_json: AsJson = False,
    top: Annotated[int, typer.Option(help="How many workflows to list.")] = 20,
) -> None:
    """The nodes of a run, best first, and what they cost."""
    path = run if run.is_file() else run / "run.sqlite"
    if not path.is_file():
        raise ConfigError(f"{run}: there is no run.sqlite; name the run_dir of a search")
    store = Store(path)
    try:
        nodes = all_nodes(store)
        cost = spent_usd(store)
    finally:
        store.close()
    if as_json:
        best = max(nodes, key=lambda node: node["score"], default=None)
        print(json.dumps({"best": best, "nodes": nodes, "cost_usd": cost}))
        return
    Console().print(_table(sorted(nodes, key=lambda node: -node["score"])[:top], len(nodes), cost))


def _table(nodes: list[dict[str, Any]], total: int, cost: float) -> Table:
    table = Table(title=f"{total} nodes, {cost:.4f} USD", expand=False)
    for name in ("session", "round", "parent", "score", "n", "modification"):
        table.add_column(name, overflow="fold")
    for node in nodes:
        low, high = node["ci95"]
        table.add_row(
            node["session"],
            str(node["round"]),
            str(node["parent"] or "-"),
            f"{node['score']:.3f} [{low:.2f}, {high:.2f}]",
            str(node["n"]),
            node["modification"],
        )
    return table
