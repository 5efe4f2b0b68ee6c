# SPDX-License-Identifier: Apache-2.0
"""Compare the memory of a real update with the formulas: `python -m recipe.bench.memory MODEL --tokens 8192 [--fused]`.

A fresh process trains MODEL through verl's own FSDP2 engine on this CPU (world size 1, bf16 compute, gradient
checkpointing, Adam): two updates of two packed micro-batches of `--tokens` tokens in four rows each, then a pass for
log-probabilities and entropies. It reads its resident set (VmRSS), and its peak (VmHWM, reset before each phase), minus
what the process had before the model was built; a toy model ran before that, so libraries and threads are in the base.
glibc is told to give large blocks back at once, else freed memory would count.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aflow_env.training.hardware.gpu_memory import Memory, Update, memory_of
from aflow_env.training.hardware.layout import architecture

MIB = 2**20
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
ROWS = 4


def resident(name: str = "VmRSS") -> int:
    """Bytes of this process: VmRSS now, VmHWM at most since `forget_peak`."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def forget_peak() -> None:
    """Start VmHWM anew from the resident set."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(model: str, toy_model: str, tokens: int, fused: bool, lora: int) -> dict[str, int]:
    """Bytes above the base: after building, around and within the second update, and in the pass without gradients."""
    import torch

    from tests.training.verl_patches.cpu import packed

    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    torch.distributed.init_process_group("cpu:gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    settings = {"use_fused_kernels": fused, "lora_rank": lora}

    def rows(length: int, vocabulary: int, entropy: bool = False) -> object:
        said = {"use_fused_kernels": fused, "calculate_entropy": entropy}
        return packed.batch(packed=True, lengths=[length] * (2 * ROWS), rows=ROWS, vocabulary=vocabulary, **said)

    warm = packed.engine(toy_model, **settings)
    with warm.train_mode():
        warm.train_batch(rows(64, 250), packed.loss)
    with warm.eval_mode():
        warm.infer_batch(rows(64, 250, entropy=True))
    del warm
    gc.collect()

    base = resident()
    built = packed.engine(model, **settings)
    gc.collect()
    found = {"weights": resident()}
    vocabulary = built.model_config.hf_config.vocab_size - 1
    with built.train_mode():
        for _ in range(2):
            built.optimizer_zero_grad()
            gc.collect()
            found["weights and Adam"] = resident()
            forget_peak()
            built.forward_backward_batch(rows(tokens // ROWS, vocabulary), packed.loss)
            found["weights, Adam, gradients"], found["backward pass"] = resident(), resident("VmHWM")
            forget_peak()
            built.optimizer_step()
            found["Adam's step"] = resident("VmHWM")
    gc.collect()
    forget_peak()
    with built.eval_mode():
        built.infer_batch(rows(tokens // ROWS, vocabulary, entropy=True))
    found["log-probs"] = resident("VmHWM")
    return {name: size - base for name, size in found.items()}


def formula(planned: Memory) -> dict[str, int]:
    """Return the same quantities by aflow_env.training.hardware.gpu_memory."""
    kept = planned.kept
    all_kept = sum(kept.values())
    without = kept["weights"] + kept["Adam"]
    return {
        "weights": kept["weights"],
        "weights and Adam": without,
        "weights, Adam, gradients": all_kept,
        "backward pass": all_kept + sum(planned.backward.values()),
        "Adam's step": all_kept + planned.optimizer,
        "log-probs": without + planned.log_probs,
    }


def in_fresh_process(arguments: list[str]) -> dict[str, int]:
    """`measure` in a process whose allocator has a clean past."""
    from tests.training.verl_patches.cpu import toy

    with tempfile.TemporaryDirectory() as folder:
        toy.write(Path(folder))
        run = subprocess.run(
            [sys.executable, "-m", "recipe.bench.memory", *arguments, "--child", f"{folder}/model"],
            env=os.environ | ALLOCATOR,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, int] = json.loads(run.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=os.path.normpath, help="folder of a policy")  # verl refuses a slash at the end
    parser.add_argument("--tokens", type=int, default=1024, help="of a packed micro-batch")
    parser.add_argument("--fused", action="store_true", help="verl's fused loss")
    parser.add_argument("--lora", type=int, default=0, help="rank; 0: every weight is trained")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measure(chosen.model, chosen.child, chosen.tokens, chosen.fused, chosen.lora)))
        return
    update = Update(
        ranks=1,
        width=4,
        tokens=chosen.tokens,
        log_prob_tokens=chosen.tokens,
        device="cpu",
        lora_rank=chosen.lora,
        sdpa=True,
        fused=chosen.fused,
    )
    shape = architecture(chosen.model)
    measured, planned = in_fresh_process(sys.argv[1:]), formula(memory_of(shape, update))
    measured["largest"], planned["largest"] = max(measured.values()), max(planned.values())
    way = ("fused loss" if chosen.fused else "plain loss") + (f", LoRA {chosen.lora}" if chosen.lora else "")
    table = Table(title=f"{shape.parameters / 1e6:,.1f} M parameters, fp32, packs of {chosen.tokens:,} tokens, {way}")
    for column in ("MiB", "measured", "formula", "formula / measured"):
        table.add_column(column, justify="left" if column == "MiB" else "right")
    for name, size in measured.items():
        figures = f"{size / MIB:,.1f}", f"{planned[name] / MIB:,.1f}", f"{planned[name] / size:.3f}"
        table.add_row(name, *figures, style="bold" if name == "largest" else "")
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
