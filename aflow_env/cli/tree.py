# SPDX-License-Identifier: Apache-2.0
"""`aflow-env tree RUN`: the search tree of a run as one interactive HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.options import Run, needs, open_reading
from aflow_env.errors import ConfigError


def tree(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Where the page goes; RUN/tree.html unless it is given.")] = None,
) -> None:
    """Write the search tree: nodes coloured by score, with code, differences, outcomes and failed cases at a click."""
    needs("report", "jinja2")
    from aflow_env.report.tree import tree_page

    with open_reading(run) as store:
        folder = store.path.parent
        try:
            page = tree_page(store, folder.parent.name if folder.name == "search" else folder.name)
        except ValueError as error:
            raise ConfigError(f"{run}: {error}") from error
    path = out or folder / "tree.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    print(path)
