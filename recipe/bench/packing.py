# SPDX-License-Identifier: Apache-2.0
"""Compare a training step on packed rows with one on padded rows: `python -m recipe.bench.packing [--model DIR]`.

Rows are as long as those of real searches (recipe/bench/lengths.py: long states, short edits, single digits); the model
is a small random Qwen2 unless a folder is named. Each setting is verl's own FSDP2 engine doing one update (forward,
backward with gradient checkpointing, Adam) over the same rows on a CPU; the settings take turns, `--repeats` times, and
a time is the median of its repeats. Times are of the processor, all threads: on a busy machine the clock measures the
neighbours. `packed N` is verl's dynamic batches of at most N tokens without padding, `padded k` micro-batches of k rows
padded to the longest. On a CPU attention is sdpa, which computes the square of a packed micro-batch and masks most of
it; flash-attention on a GPU does not, so packing has more to gain there.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen2Config, Qwen2ForCausalLM

from tests.training.verl_patches.cpu import packed, toy

LONGEST, MEDIAN, DIGIT, EDIT = 942, 695, 1, 20
"""Tokens, measured: the longest row, the median prompt, a value row's answer and the median edit."""
DEVIATION = 90
SMALL = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8}


def search_lengths(rows: int) -> list[int]:
    """Half edit rows, half value rows on the same states, as a search yields them."""
    draw = Random(0)
    prompts = [round(draw.gauss(MEDIAN, DEVIATION)) for _ in range(rows // 2)]
    return [min(LONGEST, prompt + answer) for prompt in prompts for answer in (EDIT, DIGIT)]


def write_small(folder: Path) -> Path:
    """Return a random Qwen2 large enough that a matrix product is most of its time."""
    tokens = toy.tokenizer()
    tokens.save_pretrained(folder)
    Qwen2ForCausalLM(
        Qwen2Config(vocab_size=8192, num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=256, **SMALL)
    ).save_pretrained(folder)
    return folder


def update(built: object, lengths: list[int], **how: object) -> float:
    """Processor seconds of one update."""
    data = packed.batch(lengths=lengths, **how)  # type: ignore[arg-type]
    began = time.process_time()
    with built.train_mode():  # type: ignore[attr-defined]
        built.train_batch(data, packed.loss)  # type: ignore[attr-defined]
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a policy")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--padded", type=int, nargs="+", default=[1, 2, 4, 8], help="rows of a padded micro-batch")
    parser.add_argument(
        "--packed", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="tokens of a packed one"
    )
    chosen = parser.parse_args()
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    torch.manual_seed(0)
    torch.distributed.init_process_group("cpu:gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    with tempfile.TemporaryDirectory() as folder:
        built = packed.engine(str(chosen.model or write_small(Path(folder))))
    lengths = search_lengths(chosen.rows)
    settings: dict[str, Callable[[], float]] = {}
    for rows in chosen.padded:
        settings[f"padded {rows}"] = lambda rows=rows: update(built, lengths, packed=False, rows=rows)
    for tokens in chosen.packed:
        settings[f"packed {tokens}"] = lambda tokens=tokens: update(built, lengths, packed=True, tokens=tokens)
    times: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(chosen.repeats + 1):
        for name, run in settings.items():
            times[name].append(run())
    middle = {name: median(each[1:]) for name, each in times.items()}  # the first of each is not counted
    best = min(value for name, value in middle.items() if name.startswith("padded"))
    total = sum(lengths)
    padding = {
        rows: sum(max(lengths[i : i + rows]) * rows for i in range(0, len(lengths), rows)) for rows in chosen.padded
    }
    table = Table(title=f"{len(lengths)} rows, {total:,} tokens, {min(lengths)} to {max(lengths)} a row")
    for column in (
        "micro-batches",
        "tokens computed",
        "seconds",
        "fastest",
        "slowest",
        "tokens/s",
        "best padded / this",
    ):
        table.add_column(column, justify="right")
    for name, value in middle.items():
        computed = padding[int(name.split()[1])] if name.startswith("padded") else total
        spread = min(times[name][1:]), max(times[name][1:])
        figures = (
            f"{value:.2f}",
            f"{spread[0]:.2f}",
            f"{spread[1]:.2f}",
            f"{total / value:,.0f}",
            f"{best / value:.2f}",
        )
        table.add_row(name, f"{computed:,}", *figures)
    Console(width=100).print(table)
    print(f"medians of {chosen.repeats}, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
