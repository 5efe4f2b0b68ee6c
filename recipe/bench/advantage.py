# SPDX-License-Identifier: Apache-2.0
"""Time GiGPO's advantages on one core: `python -m recipe.bench.advantage` from the root of the checkout.

Each size is timed vectorised and, in the same process, by the loop implementation that the tests compare it with.
Groups, anchors and tokens are as in a training step: a uid is 8 sessions that start at one anchor and meet again. The
result alone is 128 MB at 65,536 x 512; `core` is the time without it, which is the algorithm's own. Times are the least
of the runs (one of the loop's), of the processor and, for ours, of the clock too: on a busy machine the clock measures
the neighbours, and whatever else runs can only add.
"""

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aflow_env.rl.baseline_estimators import HgpoConfig, hgpo
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import Rows, Steps, token_advantages
from tests.rl.loops import loop_gigpo

SESSIONS = 8


def training_step(count: int, tokens: int, group: int, seed: int = 0) -> Rows:
    """`count` shuffled rows, `group` rows a uid, mask as verl's (int64)."""
    draw = random.Random(seed)
    steps = group // SESSIONS
    places = [(row // group, row % group // steps, row % steps) for row in range(count)]
    draw.shuffle(places)
    anchors = [f"{draw.getrandbits(64):016x}" for _ in range(4 * steps)]
    lengths = torch.tensor([draw.randint(tokens // 8, tokens) for _ in places])
    return Rows(
        uid=[f"problem-{uid:08d}" for uid, _, _ in places],
        trajectory=[f"problem-{uid:08d}_{session}" for uid, session, _ in places],
        anchor=["root" if step == 0 else anchors[4 * step - draw.randint(1, 4)] for _, _, step in places],
        step_index=torch.tensor([step for _, _, step in places]),
        step_reward=torch.tensor([draw.random() - 0.3 for _ in places]),
        is_edit=torch.ones(count, dtype=torch.bool),
        response_mask=(torch.arange(tokens) < lengths[:, None]).long(),
    )


def milliseconds(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """(processor time, wall time), each the least of the repeats; with several, the first is not counted."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        clock, processor = time.perf_counter(), time.process_time()
        run()
        times.append(((time.process_time() - processor) * 1e3, (time.perf_counter() - clock) * 1e3))
    times = times[1:] or times
    return min(processor for processor, _ in times), min(clock for _, clock in times)


def per_row(rows: Rows, estimator: Callable[[Steps, Any], Tensor], config: Any) -> Tensor:
    """(N,) advantages"""
    steps = Steps.of(rows)
    return steps.to_rows(estimator(steps, config))


def line(count: int, tokens: int, group: int, repeats: int, loop: bool) -> str:
    rows = training_step(count, tokens, group)

    def on_tokens(estimator: Callable[[Steps, Any], Tensor], config: Any) -> Tensor:
        return token_advantages(per_row(rows, estimator, config), rows.response_mask)

    ours, clock = milliseconds(lambda: on_tokens(gigpo, GigpoConfig()), repeats)
    core, _ = milliseconds(lambda: per_row(rows, gigpo, GigpoConfig()), repeats)
    nested, _ = milliseconds(lambda: on_tokens(hgpo, HgpoConfig()), repeats)
    text = f"{count:8,d} | {ours:8.1f} {clock:8.1f} {ours / count * 1e3:7.2f} {core:8.1f} | {nested:8.1f} |"
    if not loop:
        return text
    slow, _ = milliseconds(lambda: loop_gigpo(rows, GigpoConfig()), 1)
    difference = (per_row(rows, gigpo, GigpoConfig()) - loop_gigpo(rows, GigpoConfig())).abs().max().item()
    return f"{text} {slow:8.0f} {slow / core:9.0f} {difference:15.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[8192, 16384, 32768, 65536])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--group", type=int, default=64, help=f"rows a uid; a multiple of {SESSIONS}")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-loop", action="store_true", help="leave the slow implementation out")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{chosen.tokens} tokens, {chosen.group} rows a uid, 1 thread, torch {torch.__version__}")
    print("    rows |  ours ms  wall ms  us/row  core ms |  hgpo ms |  loop ms loop/core  max difference")
    for count in chosen.rows:
        print(line(count, chosen.tokens, chosen.group, chosen.repeats, not chosen.no_loop), flush=True)


if __name__ == "__main__":
    main()
