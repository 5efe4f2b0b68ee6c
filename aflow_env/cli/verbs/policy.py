# SPDX-License-Identifier: Apache-2.0
"""`aflow-env model tiny`: a small policy that runs without a GPU or a download.

`aflow-env export-policy`: a trained policy as a Hugging Face folder.
"""

from pathlib import Path
from typing import Annotated

import typer

from aflow_env.screen import say

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
