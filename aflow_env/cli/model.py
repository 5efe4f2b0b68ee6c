# SPDX-License-Identifier: Apache-2.0
"""`aflow-env model tiny`: the small policy that runs without a GPU or a download."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Policies that the package can make itself.", no_args_is_help=True)


@app.callback()
def models() -> None:
    """Policies that the package can make itself."""


@app.command("tiny")
def tiny(
    out: Annotated[Path, typer.Option(help="Folder to write the Hugging Face checkpoint to.")],
    seed: Annotated[int, typer.Option(help="Decides the weights and the warm start.")] = 0,
) -> None:
    """Build a small Qwen2-architecture policy and warm-start it on uniformly drawn edits (under 90 s on two cores)."""
    from aflow_env.rl.tiny import build_tiny

    build_tiny(out, seed=seed)
    typer.echo(f"{out}: use it by actor_rollout_ref.model.path={out}")
