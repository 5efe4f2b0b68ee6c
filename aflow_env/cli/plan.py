# SPDX-License-Identifier: Apache-2.0
"""`aflow-env plan`: what a training run will need, before it is started."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from aflow_env.cli.options import AsJson
from aflow_env.config import config_directory, parse
from aflow_env.errors import ConfigError

if TYPE_CHECKING:
    from aflow_env.rl.plan import Plan


def plan(
    overrides: Annotated[list[str] | None, typer.Argument(help="Hydra overrides, as for verl's main_ppo.")] = None,
    config_name: Annotated[str, typer.Option(help="Which of the training configs.")] = "aflow_gigpo",
    gpu_gib: Annotated[float, typer.Option(min=1, help="Memory of one GPU in GiB.")] = 80.0,
    as_json: AsJson = False,
) -> None:
    """Layout, memory of each GPU by formula, tokens and executor calls a step; status 2 for what cannot fit."""
    from aflow_env.rl import plan as rl
    from aflow_env.rl.architecture import architecture

    config = composed(config_name, overrides or [])
    aflow = parse(config.aflow)
    found = rl.plan(config, aflow, architecture(str(config.actor_rollout_ref.model.path)), int(gpu_gib * rl.GIB))
    if as_json:
        names = ("gpus", "tensor_parallel", "parameters", "training", "resident", "rollout", "kv_tokens")
        more = ("rows", "tokens", "evaluations", "problem_runs", "peak", "complaints")
        typer.echo(json.dumps({name: getattr(found, name) for name in (*names, *more)}))
    else:
        _print(found, rl.GIB)
    if found.complaints:
        raise ConfigError("it does not fit: " + ". Also, ".join(found.complaints))


def composed(name: str, overrides: list[str]) -> DictConfig:
    """The training config as verl's main_ppo would get it. Raises ConfigError."""
    import verl

    GlobalHydra.instance().clear()
    path = f"hydra.searchpath=[file://{Path(verl.__file__).parent}/trainer/config]"
    try:
        with initialize_config_dir(str(config_directory()), version_base=None):
            return compose(name, overrides=[path, *overrides])
    except HydraException as error:
        raise ConfigError(" ".join(str(error).split()).partition(" Config search path:")[0]) from error


def _print(found: "Plan", gib: int) -> None:
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    replicas = max(1, found.gpus // found.tensor_parallel)
    grid.add_row("layout", f"{found.gpus} FSDP2 ranks, {replicas} vLLM servers of {found.tensor_parallel} GPUs")
    grid.add_row("policy", f"{found.parameters / 1e9:.2f} billion parameters")
    for name, size in found.training.items():
        grid.add_row(f"  {name}", f"{size / gib:7.1f} GiB a GPU")
    grid.add_row("training, sum", f"{sum(found.training.values()) / gib:7.1f} GiB")
    grid.add_row("while vLLM runs", f"{found.resident / gib:7.1f} GiB of the trainer + {found.rollout / gib:.1f} GiB")
    grid.add_row("KV cache", f"{max(0, found.kv_tokens):,} tokens a server")
    grid.add_row("peak with slack", f"{found.peak / gib:7.1f} GiB of {found.memory / gib:.0f}")
    grid.add_row("a step, at most", f"{found.rows:,} rows, {found.tokens:,} policy tokens")
    grid.add_row(
        "",
        f"{found.evaluations:,} evaluations = {found.problem_runs:,} problem runs, each one to several executor calls",
    )
    Console(width=80).print(grid)
    Console(width=80).print("By formula (aflow_env/rl/plan.py), not measured on a GPU.")
