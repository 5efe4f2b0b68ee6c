# SPDX-License-Identifier: Apache-2.0
"""The section of docs/results.md on real searches over several seeds: every search, and the paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipe.evidence.guided_results import FEWEST
from recipe.evidence.paired import Arms, Row, by_arm, compared, differences, mean, scored, values
from recipe.evidence.real import NAMES

STOCK = "stock"
TEXT = """
## Stock against guided, a real executor

Nothing is simulated: Qwen2.5-Coder-0.5B behind vLLM runs the workflows, greedy (`recipe/evidence/real.py`): GSM8K on
one H100, HumanEval on two CPU cores. `stock` is AFlow's own selection (no UCB bonus) over uniformly random edits:
not AFlow itself, where an LLM proposes. `trained` is the tiny policy after one `make train` on the embedded, simulated
task: it never saw these problems, this executor, nor an operator that the embedded task does not have. `tiny, trained
here` is the same policy trained on GSM8K's train problems with this very executor instead, `qwen` Qwen2.5-Coder-0.5B as
it is, `qwen, trained here` after eight steps of GiGPO there ([the trainings](#training-on-a-gpu-a-real-executor)).
**Each is one training run.** Qwen's training sampled at temperature 0.8, its searches at 1.0 (the default then):
another, flatter policy and Q than was trained. How much that costs was not measured.

{rounds} rounds a search; seeds differ in what is proposed and selected, the problems are the same. Test scores are
those of the workflow chosen on the validate problems; `rejected` are rounds whose edit was not run: repeats as well as
what the gate refuses. All searches share a cache of completions; tokens and calls are what each would have cost alone,
racing included. Manual workflows are below the searches: nothing is searched for, so their interval is that of problems
at large, and calls and tokens are those of the test itself. In square brackets are intervals, in round ones, where
there are fewer than {fewest} seeds, the lowest and the highest.
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
  workflows that were chosen again and again is one comparison, however many seeds chose them: p-values are contrasts of
  a few workflows on one set of problems. On GSM8K the arms with
  the best test score (`trained`) have the second worst on validate.
- **No search beats the plain prompt on GSM8K.** {plain} scores {plain_score:.3f} with {plain_calls} calls, its test
  included; the best arm {best:.3f}, and its search alone took {best_calls:,.0f} calls or more.
- **Training made the real policy a better proposer.** GSM8K, `qwen, trained here` against `qwen`, both with w=0:
  {learnt}. Of 8 rounds {rejected_before:.1f} are rejected before the training and {rejected_after:.1f} after it. In the
  training's first step the gate let {valid_before:.0%} of its edits through, in the last {valid_after:.0%}, and
  {repeated:.0%} of these last were repeats; how many of the {rejected_after:.1f} rounds are, the data do not say.
- **It is not better than random edits**: against `stock` {to_stock}. Random edits are always well-formed.
- **`rl_weight`** 0.5 against 0 on GSM8K:
  {weights}.
- `trained` chose the same workflow, a program, in nine of ten seeds; against `stock` {trained}.
  Training it on this task instead is worse, w=0: {tiny}; against `stock` {tiny_stock}.
- HumanEval, three seeds: the guided search found nothing and kept its start ({start:.3f}); random edits
  {random}. Too few to tell arms apart. What `stock` chose is better than the start on 33 validate problems
  and, in two of three seeds, worse on the test: noise, at many times the calls. Most of what `trained` proposes is
  rejected: repetitions of a change, and operators of the embedded task that this one does not have.
"""


def best_so_far(scores: Sequence[Sequence[float]], rounds: int) -> list[float]:
    """The best score after the start and each round; a round that was rejected or given up by racing changes nothing.

    `scores`: (round, score, problems that ran) of each node; only nodes that ran on all problems count.
    """
    full = max(n for _, _, n in scores)
    return [
        max(score for number, score, n in scores if number <= after and n == full) for after in range(1, rounds + 2)
    ]


def spread(found: Sequence[float], form: str = "{:.3f}") -> str:
    """The mean of a few figures, and their lowest and highest."""
    if np.ptp(found) == 0:
        return f"{form.format(found[0])} in all {len(found)}"
    return f"{form.format(np.mean(found))} ({form.format(min(found))} to {form.format(max(found))})"


def summary(arms: Arms, arm: str) -> str:
    """A line for an arm."""
    few = len(arms[arm]) < FEWEST
    to_stock = ""
    if arm != STOCK:
        to_stock = spread(differences(arms, arm, STOCK), "{:+.3f}") if few else compared(arms, arm, STOCK)
    cells = (
        *(arm, str(len(arms[arm])), spread(values(arms, arm)) if few else scored(arms, arm)),
        to_stock,
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


def said(
    tasks: Mapping[str, Arms], baselines: Sequence[Mapping[str, Any]], training: Sequence[Mapping[str, Any]]
) -> str:
    """What the searches say; `training` are the steps of the real policy's."""
    arms, few = tasks["gsm8k"], tasks["humaneval"]
    first = any_search(arms)
    rejected = [mean(arms, f"{name}, w=0", lambda row: row["rejected"]) for name in ("qwen", "qwen, trained here")]
    weights = (f"{name} {compared(arms, f'{name}, w=0.5', f'{name}, w=0')}" for name in NAMES)
    plain = next(each for each in baselines if (each["task"], each["name"]) == ("gsm8k", "IO"))
    best = max(mean(arms, arm, lambda row: row["test"]) for arm in arms)
    ahead = [arm for arm in arms if mean(arms, arm, lambda row: row["test"]) == best]
    return SAID.format(
        validate=first["n_validate"],
        test=first["n_test"],
        plain=plain["name"],
        plain_score=plain["score"],
        plain_calls=plain["calls"],
        best=best,
        best_calls=min(mean(arms, arm, lambda row: row["executor_calls"]) for arm in ahead),
        learnt=compared(arms, "qwen, trained here, w=0", "qwen, w=0"),
        rejected_before=rejected[0],
        rejected_after=rejected[1],
        valid_before=training[0]["valid"],
        valid_after=training[-1]["valid"],
        repeated=training[-1]["repeated"],
        to_stock=compared(arms, "qwen, trained here, w=0", STOCK),
        weights=";\n  ".join(weights),
        trained=compared(arms, "trained, w=0", STOCK),
        tiny=compared(arms, "tiny, trained here, w=0", "trained, w=0"),
        tiny_stock=compared(arms, "tiny, trained here, w=0", STOCK),
        start=mean(few, "trained, w=0", lambda row: row["test"]),
        random=spread(values(few, STOCK)),
    )


def section(
    rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]], training: Sequence[Mapping[str, Any]]
) -> str:
    """All tasks, and what the figures mean."""
    text = TEXT.format(rounds=rows[0]["rounds"], fewest=FEWEST)
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
    return text + said(tasks, baselines, training)
