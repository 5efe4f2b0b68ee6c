# SPDX-License-Identifier: Apache-2.0
"""Read the metrics of each step from verl's logs of trainings on a GPU with a real executor.

recipe/aflow/0_5b_executor.sh QWEN05B &
recipe/aflow/0_5b_one_80gb.sh actor_rollout_ref.model.path=QWEN05B aflow.task.path=GSM8K trainer.experiment_name=qwen
recipe/evidence/gpu_tiny.sh GSM8K trainer.experiment_name=tiny
python -m recipe.evidence.gpu qwen=runs/qwen/train.log tiny=runs/tiny/train.log
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.training.launch.log_lines import metrics_of

RESULTS = Path("recipe/evidence/results/gpu.jsonl")
KEPT = {
    "start": "aflow/start_score",
    "best": "aflow/best_score",
    "episode_return": "aflow/episode_return",
    "valid": "aflow/valid_rate",
    "repeated": "aflow/duplicate_rate",
    "correlation": "training/rollout_actor_probs_pearson_corr",
    "policy_tokens": "perf/total_num_tokens",
    "executor_tokens": "aflow/tokens",
    "seconds": "timing_s/step",
    "seconds_search": "timing_s/gen",
    "seconds_log_probs": "timing_s/old_log_prob",
    "seconds_reference": "timing_s/ref",
    "seconds_update": "timing_s/update_actor",
    "seconds_weights": "timing_s/update_weights",
    "gib": "actor/perf/max_memory_allocated_gb",
}
"""Name in the data -> verl's or our name of the metric."""


def steps(log: str) -> Iterator[dict[str, float | int]]:
    """Yield the metrics in KEPT of each training step in a console log of verl."""
    for number, found in metrics_of(log).items():
        if KEPT["best"] in found:
            yield {"step": number, **{name: found[key] for name, key in KEPT.items() if key in found}}


def main(log: Annotated[list[str], typer.Argument(help="NAME=LOG of a training, as verl printed it.")]) -> None:
    """Write the data of all steps."""
    lines = [
        json.dumps({"run": name, **step})
        for name, path in (each.split("=", 1) for each in log)
        for step in steps(Path(path).read_text(errors="replace"))
    ]
    RESULTS.write_text("".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} steps in {RESULTS}")


if __name__ == "__main__":
    typer.run(main)
