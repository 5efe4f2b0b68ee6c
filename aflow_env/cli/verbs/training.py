# SPDX-License-Identifier: Apache-2.0
"""What a training needs and gives.

`aflow-env plan`: its layout, memory and cost, before it starts.
`aflow-env data`: the search problems of a config as parquet files.
`aflow-env model tiny`: a small policy that runs without a GPU or a download.
`aflow-env export-policy`: a trained policy as a Hugging Face folder.
"""

import re
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import omegaconf
import typer
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.table import Column, Table

from aflow_env.cli.arguments import AsJson, absent
from aflow_env.cli.compose import composing, load
from aflow_env.cli.output import print_json
from aflow_env.config import config_directory, parse, resolve
from aflow_env.errors import ConfigError
from aflow_env.files import writing
from aflow_env.screen import WIDTH, Screen, plural, say
from aflow_env.search.final_report import at_most
from aflow_env.training.hardware import plan as rl
from aflow_env.training.hardware.layout import architecture, check_layout
from aflow_env.training.launch.driver import register_resolvers

app = typer.Typer(no_args_is_help=True)
MOST = 1_000_000
"""The largest number that a plan takes; typer lets infinity pass otherwise."""


def plan(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="A config's name, then overrides as for verl's main_ppo.")
    ] = None,
    config_name: Annotated[str, typer.Option(help="Which of the training configs.")] = "aflow_gigpo",
    gpu_gib: Annotated[
        float | None,
        typer.Option(min=1, max=MOST, help="Memory of one GPU in GiB; the hardware group's card unless given."),
    ] = None,
    gpu_tflops: Annotated[
        float, typer.Option(min=1, max=MOST, help="Nominal bf16 rate of one GPU; an A100's is 312.")
    ] = rl.TFLOPS,
    gpu_usd: Annotated[float, typer.Option(min=0, max=MOST, help="Rent of one GPU for an hour.")] = rl.GPU_USD,
    calls: Annotated[float, typer.Option(min=0, max=MOST, help="Executor calls a problem run.")] = rl.CALLS_A_RUN,
    prompt_tokens: Annotated[int, typer.Option(min=0, max=MOST, help="Tokens of a call's prompt.")] = rl.PROMPT_TOKENS,
    reply_tokens: Annotated[int, typer.Option(min=0, max=MOST, help="Tokens of a call's reply.")] = rl.REPLY_TOKENS,
    row_tokens: Annotated[int, typer.Option(min=1, max=MOST, help="Tokens of a training row.")] = rl.ROW_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Layout, memory of each GPU by formula, tokens, executor calls and USD a step; status 2 for what cannot fit."""
    config_name, given = named(config_name, overrides or [])
    config = composed(config_name, given)
    resolve(config)
    aflow, shape = parse(config.aflow), architecture(str(config.actor_rollout_ref.model.path))
    check_layout(config, shape)
    memory = gpu_gib or card(config_name, given)
    found = rl.plan(config, aflow, shape, int(memory * rl.GIB))
    asked = rl.costs(found, aflow, calls, prompt_tokens, reply_tokens, row_tokens, gpu_tflops, gpu_usd)
    if as_json:
        facts = asdict(found) | {"offloaded": sorted(found.offloaded), "complaints": found.complaints}
        more = {"phases": found.phases, "peak": found.peak, "costs": asdict(asked) | {"seconds": asked.seconds}}
        more["final_calls"] = aflow.final_calls
        print_json(facts | more)
    else:
        _print(found, asked, row_tokens)
        end = asked.usd and asked.usd / asked.calls * (aflow.final_calls or 0)  # None stays None, and 0 is 0
        usd = "" if aflow.final_calls is None else f", {_usd(end)}"
        Screen(width=WIDTH).print(f"Beside the steps, {at_most(aflow, training=True)}{usd}.")
        if aflow.lookahead.chooses:
            drawn = plural(aflow.lookahead.edits, "proposal")
            Screen(width=WIDTH).print(f"A validation draws {drawn} of each node that it may expand, each by a call.")
    if found.complaints:
        raise ConfigError("it does not fit: " + ". Also, ".join(found.complaints))


def data(
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and validate.parquet.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the aflow: node")] = None,
) -> None:
    """Write the search problems; use them by data.train_files=OUT/train.parquet data.val_files=OUT/validate.parquet."""
    from aflow_env.training.rollout.search_problems import rows, write_parquet

    config = load(overrides or ())
    for split in ("train", "validate"):
        found = rows(config, split)
        with writing(out):
            write_parquet(found, out / f"{split}.parquet")
        say(f"{out / split}.parquet: {len(found)} search problems of {config.task.name}")


@app.callback()
def models() -> None:
    """Policies that the package can make itself."""


@app.command("tiny")
def tiny(
    out: Annotated[Path, typer.Option(help="Folder to write the Hugging Face checkpoint to.")],
    seed: Annotated[int, typer.Option(help="Decides the weights and the warm start.")] = 0,
) -> None:
    """Build a small Qwen2-architecture policy and warm-start it on uniformly drawn edits (under 90 s on two cores)."""
    from aflow_env.training.tiny_policy.build import build_tiny

    build_tiny(out, seed=seed)
    say(f"{out}: use it by actor_rollout_ref.model.path={out}")


def export_policy(
    run: Annotated[Path, typer.Argument(help="Run folder of a training (trainer.default_local_dir).")],
    out: Annotated[Path, typer.Option(help="New folder for the policy.")],
    step: Annotated[int | None, typer.Option(help="Which checkpoint; the latest when left out.")] = None,
) -> None:
    """Write the policy of a verl checkpoint for transformers and vLLM, LoRA merged, with a model card."""
    from aflow_env.training.trainer import checkpoints

    checkpoint = checkpoints.find_checkpoint(run, step)
    checkpoints.export_policy(checkpoint, out)
    keys = ["policy.base_url=http://localhost:8000/v1", "policy.model=policy", "rl_weight=0"]
    _, temperature = checkpoints.training_of(run)
    if temperature is not None and temperature != 1.0:
        keys.append(f"policy.temperature={temperature:g}")
    say(
        f"{out}: the policy after step {checkpoint.step}. Serve it (vllm serve {out} --served-model-name policy "
        f"--generation-config vllm) and let it propose in a search by {' '.join(keys)}"
    )


def named(config: str, given: list[str]) -> tuple[str, list[str]]:
    """Return the config's name and the overrides; a first word without `=` names the config. Raises ConfigError."""
    if given and "=" not in given[0] and not given[0].startswith("~"):
        config, *given = given
    config = Path(config).name.removesuffix(".yaml")
    known = sorted(file.stem for file in config_directory().glob("*.yaml") if "defaults:" in file.read_text())
    if config not in known:
        raise ConfigError(f"{config}: there is no such training config; the configs are {', '.join(known)}")
    return config, given


def composed(name: str, overrides: list[str], hydra_node: bool = False) -> DictConfig:
    """Return the training config as verl's main_ppo would get it. Raises ConfigError."""
    found = find_spec("verl")  # its YAML files alone are read: importing it takes seconds and all of its libraries
    if found is None or found.origin is None:
        raise absent("verl")
    register_resolvers(omegaconf)
    path = f"hydra.searchpath=[file://{Path(found.origin).parent}/trainer/config]"
    with composing(overrides), initialize_config_dir(str(config_directory()), version_base=None):
        return compose(name, overrides=[path, *overrides], return_hydra_config=hydra_node)


def card(name: str, overrides: list[str]) -> float:
    """Return the GiB of the card in the name of the chosen hardware group; 80 where none is chosen."""
    choices = composed(name, overrides, hydra_node=True).hydra.runtime.choices
    named = re.search(r"(\d+)gb", str(choices.get("hardware")))
    return float(named[1]) if named else 80.0


def _print(found: rl.Plan, asked: rl.Costs, row_tokens: int) -> None:
    grid = Table(Column(no_wrap=True), Column(overflow="fold"), box=None, show_header=False, pad_edge=False)

    def size(amount: int) -> str:
        return f"{amount / rl.GIB:7.1f} GiB"

    servers = f"{plural(found.gpus // found.tensor_parallel, 'vLLM server')} of {plural(found.tensor_parallel, 'GPU')}"
    grid.add_row("layout", f"{plural(found.gpus, 'FSDP2 rank')}, {servers}")
    grid.add_row("policy", f"{found.parameters / 1e9:.2f} billion parameters")
    for name, amount in found.training.kept.items():
        away = " (on the host, for good)" if found.host_only else " (on the host between updates)"
        grid.add_row(f"  {name}", size(amount) + away * (name in found.offloaded))
    for name, amount in found.training.backward.items():
        grid.add_row(f"  {name}", f"{size(amount)} in the backward pass")
    grid.add_row("  Adam's step", f"{size(found.training.optimizer)} after it")
    for name, amount in found.phases.items():
        grid.add_row(f"phase {name}", size(amount))
    grid.add_row("peak with slack", f"{size(found.peak)} of {found.memory / rl.GIB:.0f} a GPU")
    grid.add_row("KV cache", f"{max(0, found.kv_tokens):,} tokens a server")
    grid.add_row("host memory", f"{size(found.host)} a node; {found.loading / rl.GIB:.1f} more while it loads")
    grid.add_row("a step, at most", f"{found.rows:,} rows, {found.tokens:,} policy tokens")
    grid.add_row("", f"{found.evaluations:,} evaluations, {found.problem_runs:,} problem runs")
    grid.add_row("", f"about {asked.calls:,} LLM calls, {_usd(asked.usd)}")
    grid.add_row("training, estimate", f"{asked.tokens_a_second:,.0f} tokens/s, {asked.seconds:,.0f} s a step")
    grid.add_row("", f"with rows of {row_tokens} tokens, the rollout not counted")
    if asked.round_usd:
        share = asked.prediction_usd / asked.round_usd
        said = f"{asked.prediction_usd:.4f} USD of GPU time, {share:.1%} of a round's executor"
        grid.add_row(f"{rl.PREDICTIONS} predictions", said)
    Screen(width=WIDTH).print(grid)
    Screen(width=WIDTH).print("By formula (aflow_env/training/hardware), not a measurement.")


def _usd(amount: float | None) -> str:
    return "USD unknown: no price for this model" if amount is None else f"{amount:,.2f} USD"
