# SPDX-License-Identifier: Apache-2.0
"""Groups of runs, pairs across groups, effects over pairs. Pure.

A seed is one draw: its runs count once, with their mean. A pair shares task, seed, executor and kind (search or
training) across two groups. An effect is the mean difference over pairs, with Student's interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from aflow_env.report.numbers import mean
from aflow_env.report.runs import RunRecord
from aflow_env.screen import one_line
from aflow_env.store.settings import FREE_LEAVES

FEW_PAIRS = 6
"""Fewer pairs show no clear effect: with 6 of one sign the sign test falls below 0.05."""
UNSET = "(unset)"
_NO_CAUSE = (FREE_LEAVES - {"base_url"}) | {
    *("seed", "run_dir", "shared", "recording", "cache", "final_calls"),
    *("default_local_dir", "experiment_name", "project_name", "logger"),
}
"""Last parts of keys that cannot cause a difference in scores. A server's address can, by another policy."""

Groups = Mapping[str, Sequence[RunRecord]]
Pair = tuple[str, str, str, str]
"""Task, seed, executor, and "search" or "training"."""


@dataclass(frozen=True)
class Effect:
    """How much better a group is than the baseline over `n` pairs; the interval is None below two pairs."""

    group: str
    difference: float
    n: int
    low: float | None
    high: float | None
    relative: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0, over enough pairs to say so."""
        return self.n >= FEW_PAIRS and self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def grouped(runs: Sequence[RunRecord], keys: Sequence[str]) -> dict[str, list[RunRecord]]:
    """Return label -> runs, in the order of the values (numbers as numbers), "(unset)" last."""

    def order(run: RunRecord) -> list[tuple[bool, bool, Any]]:
        return [(value == UNSET, isinstance(value, str), value) for value in (_value(run, key) for key in keys)]

    found: dict[str, list[RunRecord]] = {}
    for run in sorted(runs, key=order):
        label = ", ".join(f"{key}={_text(_value(run, key))}" for key in keys)
        found.setdefault(one_line(label), []).append(run)
    return found


def result(run: RunRecord, measure: str) -> float | None:
    """Return the `test` or `best` (validate) score of the run's best workflow; None where it was not scored.

    A run without a closing report has no test score, and the best validate score of its nodes.
    """
    said = run.closing.get(measure) if run.closing else None
    if said:
        return float(said["score"])
    scores = [each.score for each in run.rounds if each.score is not None and each.validated]
    return max(scores, default=None) if measure == "best" else None


def measure_of(runs: Sequence[RunRecord]) -> str:
    """Return `test` as soon as one run has a test score, else `best`."""
    return "test" if any(result(run, "test") is not None for run in runs) else "best"


def draws(runs: Sequence[RunRecord], measure: str) -> dict[Pair, float]:
    """Return the result of each seed, of several runs the mean; runs without a result are left out."""
    return {
        pair: fmean(score for run in found if (score := result(run, measure)) is not None)
        for pair, found in _by_pair(runs, measure).items()
    }


def effects(groups: Groups, baseline: str, measure: str) -> list[Effect]:
    """Compare each other group with the baseline; groups that share no pair with it are left out."""
    base = draws(groups[baseline], measure)
    found = []
    for label, runs in groups.items():
        other = draws(runs, measure)
        if label != baseline and (pairs := sorted(base.keys() & other.keys())):
            # Means of equal scores in another order differ in their last digits, which is no difference.
            gain = mean([round(other[pair] - base[pair], 12) for pair in pairs], (-1.0, 1.0))
            centre = fmean(base[pair] for pair in pairs)
            relative = gain.value / centre if centre else None
            found.append(Effect(label, gain.value, gain.n, gain.low, gain.high, relative))
    return found


def also_differ(groups: Groups, baseline: str, measure: str, keys: Sequence[str]) -> dict[str, list[str]]:
    """Return key -> its values, as text, for keys beside `keys` that differ within pairs.

    Such a key may be the cause of a difference.
    """
    base = _by_pair(groups[baseline], measure)
    found: dict[str, set[str]] = {}
    for label in groups.keys() - {baseline}:
        other = _by_pair(groups[label], measure)
        for pair in base.keys() & other.keys():
            for key in {key for run in [*base[pair], *other[pair]] for key in run.config}:
                before, after = ({_text(_value(run, key)) for run in side[pair]} for side in (base, other))
                if before != after and key not in keys and key.rpartition(".")[2] not in _NO_CAUSE:
                    found.setdefault(key, set()).update(before | after)
    return {key: sorted(found[key]) for key in sorted(found)}


def _by_pair(runs: Sequence[RunRecord], measure: str) -> dict[Pair, list[RunRecord]]:
    found: dict[Pair, list[RunRecord]] = {}
    for run in runs:
        if result(run, measure) is not None:
            task, seed, executor = (_text(_value(run, key)) for key in ("task.name", "seed", "executor.kind"))
            found.setdefault((task, seed, executor, "training" if run.trained else "search"), []).append(run)
    return found


def _value(run: RunRecord, key: str) -> Any:
    """Return a value that can be sorted and hashed; text that spells a number is that number."""
    value = run.config.get(key, UNSET)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return value
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, int | float) else value or "''"
