# SPDX-License-Identifier: Apache-2.0
"""The chapter of docs/results.md on the policy's own Q: how well training teaches it."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

Row = Mapping[str, Any]
TEXT = """
## Does the policy learn to predict edits? The embedded task, SIMULATED executor

Q is judged on edits that nothing was trained on, by Spearman's correlation with the scores among the edits of one
workflow. **`make train`**, the edits of a run's validation sessions (8 search problems, 3 validations; 4 search
problems in the first two runs); `skill` is 1 - Brier / Brier of the best constant in hindsight:

| value rows drawn | run | Q of the policy | the surrogate | edits | skill | test score of the closing report |
|---|---|---|---|---|---|---|
{runs}

Median of Q's correlation: {medians}. Nine runs were planned, and time
allowed these. `rows`, the rule of the library, draws evenly over the value rows of 16 steps. `pairs` draws evenly over
distinct pairs of a workflow and an edit, of all steps: in the first run of `rows` 551 of 1,196 rows ask about two of
230 pairs. `pairs` was tried because it ranks better offline (below). **Its trainings end lower**: mean test score
{tests}. This was seen as the runs came in, so it is no registered test. In the
sixth run the entropy of the edits fell to 0.3 by step 12, at a return of 0.39. So `pairs` is not in the library.

**Offline**: the tiny policy, taught once through what that run stored, without edits' updates between
(`recipe/evidence/replay.py`). One pass each. `pooled` is `pairs` with digits drawn anew from the pair's mean score, and
a number is optimiser steps a training step (else 3).

| value rows drawn | random edits elsewhere, n={random} | skill | the run's validation, n={validation} | skill |
|---|---|---|---|---|
{offline}

Random edits are of 12 other searches, so training saw few of them. There `pairs` ranks better than `rows`. On the run's
own validation edits they do not differ by more than chance.
"""


def section(runs: Sequence[Row], offline: Sequence[Row]) -> str:
    """The whole chapter."""
    drawn = {rule: [row for row in runs if row["replay"] == rule] for rule in ("rows", "pairs")}
    last: dict[str, dict[str, Row]] = {row["rule"]: {} for row in offline}
    for row in offline:
        last[row["rule"]][row["edits"]] = row
    return TEXT.format(
        runs="\n".join(
            f"| `{row['replay']}` | {row['run']} | {row['within']:.2f} | {row['surrogate_within']:.2f} | "
            f"{row['n']:.0f} | {row['skill']:.2f} | {row['test']:.3f} |"
            for row in runs
        ),
        medians=", ".join(
            f"{median(row['within'] for row in found):.2f} with `{rule}` (n={len(found)})"
            for rule, found in drawn.items()
        ),
        tests=", ".join(f"{fmean(row['test'] for row in found):.3f} with `{rule}`" for rule, found in drawn.items()),
        random=offline[0]["n"],
        validation=offline[1]["n"],
        offline="\n".join(
            f"| {rule if rule == 'surrogate' else f'`{rule}`'} | {found['random edits']['within']:.2f} | "
            f"{found['random edits']['skill']:.2f} | {found['validation']['within']:.2f} | "
            f"{found['validation']['skill']:.2f} |"
            for rule, found in last.items()
        ),
    )
