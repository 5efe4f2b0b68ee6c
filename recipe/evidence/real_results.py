# SPDX-License-Identifier: Apache-2.0
"""The section of docs/results.md on real searches over several seeds: every search, and the paired differences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recipe.evidence.paired import Arms, by_arm, compared, mean, scored

STOCK = "stock"
TEXT = """
## Stock against guided, a real executor

Nothing is simulated: Qwen2.5-Coder-0.5B behind vLLM runs the workflows, greedy, on two CPU cores
(`recipe/evidence/real.py`). `stock` is AFlow: uniform random edits, its selection, no UCB bonus. `trained` is the tiny
policy after one `make train` on the embedded, simulated task: it never saw these problems, this executor, nor an
operator that the embedded task does not have. {rounds} rounds a search; seeds differ in what is proposed and selected,
the problems are the same. Test scores are those of the workflow chosen on the validate problems. All searches share a
cache of completions; tokens and calls are what each would have cost alone, racing included. Manual workflows are below
the searches: nothing is searched for, so their interval is that of problems at large, and calls and tokens are those of
the test itself.
"""
TASK = """
### {task}: {validate} validate and {test} test problems

| arm | n | test score | difference to stock | rejected | calls | output tokens | policy tokens |
|---|---|---|---|---|---|---|---|
{table}

| arm | seed | start | best, validate | best, test | best so far after each round |
|---|---|---|---|---|---|
{searches}
"""
SAID = """
- Three seeds are too few to tell arms apart: an interval over three says little.
- gsm8k: all searches have their best within three rounds, and for all but one it is a step that writes and runs a
  program. 40 validate problems cannot tell 0.200 from 0.225: the search that chose a chain of thought for such a
  difference lost on the test. Its manual workflows were run on the validate problems alone (next section).
- humaneval: the start, which asks for the function once, is hard to beat. `stock` finds workflows that are better on 33
  validate problems and, in two of three seeds, worse than the start on the test: what it chose is noise, at
  many times the calls. `trained` keeps the start in all seeds, because most of what it proposes is rejected.
- What is rejected are repetitions of a change from the same workflow (29 of 46 rejections on both tasks) and operators
  of the embedded task that this one does not have (17): the tiny policy proposes what it was trained on, whatever the
  prompt offers. So its searches run fewer workflows and cost less; no proposal of its own did better than random ones.
  A policy trained on these tasks or with this executor was not tried.
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


def searches(arms: Arms) -> Iterable[str]:
    """A line for every search."""
    for arm, rows in arms.items():
        for seed, row in sorted(rows.items()):
            path = " ".join(f"{score:.3f}" for score in best_so_far(row["scores"], row["rounds"]))
            scores = (f"{row[key]:.3f}" for key in ("start", "best_validate", "test"))
            yield f"| {arm} | {seed} | {' | '.join(scores)} | {path} |"


def section(rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]]) -> str:
    """All tasks, and what the figures mean."""
    text = TEXT.format(rounds=rows[0]["rounds"])
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        arms = by_arm(mine)
        lines = (summary(arms, arm) for arm in arms)
        text += TASK.format(
            task=task,
            validate=mine[0]["n_validate"],
            test=mine[0]["n_test"],
            table="\n".join((*lines, *(manual(each) for each in baselines if each["task"] == task))),
            searches="\n".join(searches(arms)),
        )
    return text + SAID
