# SPDX-License-Identifier: Apache-2.0
"""The section of docs/results.md on the trainings on a GPU: every step, and what it cost."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

Step = Mapping[str, Any]
TEXT = """
## Training on a GPU, a real executor

`python -m verl.trainer.main_ppo` with the GPU config on one H100 80GB: torch 2.11 (CUDA 13), vLLM 0.26, flash-attn 2.8,
transformers 5.10, verl 0.9.1; FSDP2, packed rows, gradient checkpointing, flash-attention. The executor is a server of
Qwen2.5-Coder-0.5B on the same card, the task GSM8K's first 1,000 train problems; w is 0.5. **One run each**, ended by
hand when the machine's time was over (`recipe/evidence/gpu.py`). Both ran at the same time, beside the searches of the
next section, so seconds are those of a busy card and 16 busy cores.

### Qwen2.5-Coder-0.5B as the policy: 8 problems x 8 sessions x 3 rounds a step

{qwen}

### The tiny policy: 4 problems x 4 sessions x 4 rounds a step

{tiny}

`start` and `best` are the sessions' mean scores of their start and of their best workflow, on the 16 problems that a
session sees (24 with the tiny policy): the best of a few noisy scores flatters, alike in all steps. `return` is the sum
of a session's rewards, `valid` the share of edits that the gate let through, `correlation` that of the probabilities
which vLLM and the trainer give the same tokens.

- The real policy learns to write valid edits ({valid_first:.0%} of them to {valid_last:.0%}), and its sessions end with
  a better workflow ({best_first:.3f} to {best_last:.3f}). In the first step {repeated_first:.1%} of its edits repeat an
  earlier one, in the last {repeated_last:.1%}.
- The largest memory of log-probabilities and updates was {gib:.2f} GiB (torch's peak of allocated memory);
  `aflow-env plan --config-name recipe_0_5b_one_80gb` says 10.5 GiB, by formulas that had seen no GPU. Its 18,420
  tokens/s for log-probabilities, reference and update were not reached: {speed:,.0f} in the median step, on a card that
  two trainings and three servers shared.
- A step is searching: {searching:.0%} of the median step. Much of that is waiting for programs of the executor that
  never end, until the sandbox stops them.
- The tiny run was killed (SIGKILL of every process) in step 12 and started again: it went on after its checkpoint of
  step 10.
"""
HEAD = """\
| step | start | best | return | valid | correlation | policy tokens | executor tokens | seconds, of which searching |
|---|---|---|---|---|---|---|---|---|
"""


def table(steps: Iterable[Step]) -> str:
    """A line a step."""
    return HEAD + "\n".join(
        f"| {each['step']} | {each['start']:.3f} | {each['best']:.3f} | {each['episode_return']:+.3f} | "
        f"{each['valid']:.3f} | {each['correlation']:.4f} | {each['policy_tokens']:,.0f} | "
        f"{each['executor_tokens']:,.0f} | {each['seconds']:.0f}, {each['seconds_search']:.0f} |"
        for each in steps
    )


def section(steps: Sequence[Step]) -> str:
    """Both runs, and what they show."""
    qwen, tiny = ([step for step in steps if step["run"] == name] for name in ("qwen", "tiny"))
    first, last = qwen[0], qwen[-1]
    passes = ("seconds_log_probs", "seconds_reference", "seconds_update")
    return TEXT.format(
        qwen=table(qwen),
        tiny=table(tiny),
        **{f"{key}_first": first[key] for key in ("valid", "best", "repeated")},
        **{f"{key}_last": last[key] for key in ("valid", "best", "repeated")},
        gib=max(step["gib"] for step in qwen),
        speed=median(step["policy_tokens"] / sum(step[each] for each in passes) for step in qwen),
        searching=median(step["seconds_search"] / step["seconds"] for step in qwen),
    )
