# SPDX-License-Identifier: Apache-2.0
"""`aflow-env export-policy`: a trained policy as a Hugging Face folder."""

from pathlib import Path
from typing import Annotated

import typer


def export_policy(
    run: Annotated[Path, typer.Argument(help="Run folder of a training (trainer.default_local_dir).")],
    out: Annotated[Path, typer.Option(help="New folder for the policy.")],
    step: Annotated[int | None, typer.Option(help="Which checkpoint; the latest when left out.")] = None,
) -> None:
    """Write the policy of a verl checkpoint for transformers and vLLM, LoRA merged, with a model card."""
    from aflow_env.rl import export

    checkpoint = export.find_checkpoint(run, step)
    export.export_policy(checkpoint, out)
    keys = ["policy.base_url=http://localhost:8000/v1", "policy.model=policy", "rl_weight=0"]
    if (temperature := export.rollout_temperature(run)) not in (None, 1.0):
        keys += [f"policy.temperature={temperature:g}", f"policy.belief_temperature={temperature:g}"]
    typer.echo(
        f"{out}: the policy after step {checkpoint.step}. Serve it (vllm serve {out} --served-model-name policy "
        f"--generation-config vllm) and let it propose in a search by {' '.join(keys)}"
    )
