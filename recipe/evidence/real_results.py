# SPDX-License-Identifier: Apache-2.0
"""The section of docs/results.md on real searches over several seeds: every search, and the paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipe.evidence.paired import Arms, Row, by_arm, compared, differences, mean, scored, signed
from recipe.evidence.real import NAMES

STOCK = "stock"
TEXT = """
## Stock against guided, a real executor

Nothing is simulated: Qwen2.5-Coder-0.5B behind vLLM runs the workflows, greedy (`recipe/evidence/real.py`): GSM8K on
one H100, HumanEval on two CPU cores. `stock` is AFlow: uniform random edits, its selection, no UCB bonus. `trained` is
the tiny policy after one `make train` on the embedded, simulated task: it never saw these problems, this executor, nor
an operator that the embedded task does not have. `tiny, trained here` is the same policy trained on GSM8K's train
problems with this very executor instead, `qwen` Qwen2.5-Coder-0.5B as it is, `qwen, trained here` after eight steps of
GiGPO there ([the trainings](#training-on-a-gpu-a-real-executor)). {rounds} rounds a search; seeds differ in what is
proposed and selected, the problems are the same. Test scores are those of the workflow chosen on the validate problems.
All searches share a cache of completions; tokens and calls are what each would have cost alone, racing included. Manual
workflows are below the searches: nothing is searched for, so their interval is that of problems at large, and calls and
tokens are those of the test itself.
"""
TASK = """
### {task}: {validate} validate and {test} test problems

| arm | n | test score | difference to stock | rejected | calls | output tokens | policy tokens |
|---|---|---|---|---|---|---|---|
{table}

| arm | best on validate so far, mean: at the start, and after each round |
|---|---|
{paths}
"""
SAID = """
- **The intervals are those of the search, not of the problems**: all seeds have the same {validate} validate and {test}
  test problems, and a score on {test} problems is known to 0.09 or so. A difference of a few points between two
  workflows that were chosen again and again is one comparison, however many seeds chose them. On GSM8K the arms with
  the best test score (`trained`) have the second worst on validate.
- **Training made the real policy a better proposer.** GSM8K, `qwen, trained here` against `qwen`, both with w=0:
  {learnt}. As it is, Qwen2.5-Coder-0.5B seldom writes an edit that the gate lets through:
  {rejected_before:.1f} rounds of 8 are rejected, and after eight training steps {rejected_after:.1f}.
- **It is not better than random edits**: against `stock` {to_stock}. Random edits are always
  well-formed, and eight of them find what there is to find with this executor.
- **`rl_weight`** 0.5 against 0 on GSM8K:
  {weights}.
- `trained` chose the same workflow, a program, in nine of ten seeds; against `stock` {trained}.
  Training it on this task instead is no better, w=0: {tiny}.
- HumanEval has three seeds, too few to tell arms apart. The start, which asks for the function once, is hard to beat.
  `stock` finds workflows that are better on 33 validate problems and, in two of three seeds, worse than the start on
  the test: what it chose is noise, at many times the calls. `trained` keeps the start in all seeds, because most of
  what it proposes is rejected: repetitions of a change, and operators of the embedded task that this one does not have.
"""


def best_so_far(scores: Sequence[Sequence[float]], rounds: int) -> list[float]:
    """The best score after the start and each round; a round that was rejected or given up by racing changes nothing.

    `scores`: (round, score, problems that ran) of each node; only nodes that ran on all problems count.
    """
    full = max(n for _, _, n in scores)
    return [
        max(score for number, score, n in scores if number <= after and n == full) for after in range(1, rounds + 2)
    ]


def summary(arms: Arms, arm: str) -> str:
    """A line for an arm."""
    cells = (
        *(arm, str(len(arms[arm])), scored(arms, arm)),
        "" if arm == STOCK else compared(arms, arm, STOCK),
        f"{mean(arms, arm, lambda row: row['rejected']):.1f}",
        f"{mean(arms, arm, lambda row: row['executor_calls']):,.0f}",
        f"{mean(arms, arm, lambda row: row['tokens']['output']):,.0f}",
        f"{mean(arms, arm, lambda row: row['policy_tokens']):,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def manual(found: Mapping[str, Any]) -> str:
    """A line for a manual workflow."""
    score = "{:.3f} [{:.3f}, {:.3f}]".format(found["score"], *found["ci95"])
    cost = f"{found['calls']:,} (test) | {found['tokens']['output']:,} (test)"
    return f"| {found['name']} (manual) | - | {score} | | | {cost} | |"


def path(arms: Arms, arm: str) -> str:
    """A line for how an arm's searches went."""
    found = np.mean([best_so_far(row["scores"], row["rounds"]) for row in arms[arm].values()], axis=0)
    return f"| {arm} | {' '.join(f'{score:.3f}' for score in found)} |"


def any_search(arms: Arms) -> Row:
    """One of the searches, to read what all have in common."""
    return next(row for rows in arms.values() for row in rows.values())


def said(arms: Arms) -> str:
    """What the searches of GSM8K say."""
    first = any_search(arms)
    rejected = [mean(arms, f"{name}, w=0", lambda row: row["rejected"]) for name in ("qwen", "qwen, trained here")]
    weights = (f"{name} {signed(differences(arms, f'{name}, w=0.5', f'{name}, w=0'))}" for name in NAMES)
    return SAID.format(
        validate=first["n_validate"],
        test=first["n_test"],
        learnt=compared(arms, "qwen, trained here, w=0", "qwen, w=0"),
        rejected_before=rejected[0],
        rejected_after=rejected[1],
        to_stock=compared(arms, "qwen, trained here, w=0", STOCK),
        weights=";\n  ".join(weights),
        trained=compared(arms, "trained, w=0", STOCK),
        tiny=compared(arms, "tiny, trained here, w=0", "trained, w=0"),
    )


def section(rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]]) -> str:
    """All tasks, and what the figures mean."""
    text = TEXT.format(rounds=rows[0]["rounds"])
    tasks = {
        task: by_arm(row for row in rows if row["task"] == task) for task in dict.fromkeys(r["task"] for r in rows)
    }
    for task, arms in tasks.items():
        first = any_search(arms)
        lines = (summary(arms, arm) for arm in arms)
        text += TASK.format(
            task=task,
            validate=first["n_validate"],
            test=first["n_test"],
            table="\n".join((*lines, *(manual(each) for each in baselines if each["task"] == task))),
            paths="\n".join(path(arms, arm) for arm in arms),
        )
    return text + said(tasks["gsm8k"])
