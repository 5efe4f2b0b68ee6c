# SPDX-License-Identifier: Apache-2.0
"""Compare groups of runs with a baseline, as text, CSV and JSON. Pure."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from aflow_env.errors import ConfigError
from aflow_env.report import numbers, pairs
from aflow_env.report.numbers import Mean, Priced
from aflow_env.report.pairs import Effect, Pair
from aflow_env.report.runs import RunRecord
from aflow_env.screen import one_line

FORMULA = tuple("=+-@＝＋－＠")
"""A spreadsheet evaluates a text that begins with one of these."""
CSV_COLUMNS = (
    *("group", "run", "simulated", "task", "seed", "rl_weight", "rounds", "best", "test", "test_low", "test_high"),
    *("test_n", "cost_usd", "tokens"),
)


@dataclass(frozen=True)
class Group:
    """A group's figures: means of scores over seeds (None without such scores), other means over runs.

    `cost_usd` is a run's whole bill, None where a price is unknown. `front` has the workflows that no other beats in
    score and USD a problem, None where no price is known.
    """

    label: str
    runs: int
    best: Mean | None
    test: Mean | None
    cost_usd: Mean | None
    rounds: Mean
    rejected: float
    front: Sequence[Priced] | None


@dataclass(frozen=True)
class Summary:
    """Runs by group, and each group against `baseline` by `measure` ("test" or "best")."""

    keys: tuple[str, ...]
    measure: str
    baseline: str
    groups: tuple[Group, ...]
    effects: tuple[Effect, ...]
    members: Mapping[str, Sequence[RunRecord]]

    @property
    def simulated(self) -> int:
        """The number of runs with a simulated executor."""
        return sum(run.simulated for run in self.runs)

    @property
    def runs(self) -> list[RunRecord]:
        """All runs, by group."""
        return [run for members in self.members.values() for run in members]

    @property
    def scores(self) -> dict[str, Mean]:
        """The mean by the measure, of each group that has one."""
        found = {each.label: each.test if self.measure == "test" else each.best for each in self.groups}
        return {label: mean for label, mean in found.items() if mean is not None}


def summarise(runs: Sequence[RunRecord], keys: Sequence[str], baseline: str | None = None) -> Summary:
    """Group the runs by config keys. The baseline is the first group unless it is named by its label.

    Raises ConfigError for a key that no run has, and for a baseline that is no group.
    """
    for key in keys:
        if not any(key in run.config for run in runs):
            known = ", ".join(sorted({each for run in runs for each in run.config if "." not in each}))
            raise ConfigError(
                f"--by {key}: no run has such a key; keys are dotted, as in selection.c_ucb, or one of {known}"
            )
    members = pairs.grouped(runs, keys)
    base = one_line(baseline) if baseline else next(iter(members))
    if base not in members:
        raise ConfigError(f"--baseline {base}: there is no such group; the groups are {'; '.join(members)}")
    measure = pairs.measure_of(runs)
    return Summary(
        tuple(keys),
        measure,
        base,
        tuple(_group(label, found) for label, found in members.items()),
        tuple(pairs.effects(members, base, measure)),
        members,
    )


def mean_text(found: Mean | None, digits: int = 3) -> str:
    """Return a mean with its interval as text, "-" for none."""
    if found is None:
        return "-"
    interval = "" if found.low is None else f" {numbers.range_text(found.low, found.high, digits)}"
    return f"{found.value:.{digits}f}{interval}"


def as_csv(summary: Summary) -> str:
    """Return one row a run: its group, its keys, its scores and its cost."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for label, members in summary.members.items():
        for run in members:
            test = (run.closing or {}).get("test") or {}
            keys = (run.config.get(key, "") for key in ("task.name", "seed", "rl_weight"))
            low, high = test.get("ci95") or ("", "")
            scores = (pairs.result(run, "best"), test.get("score", ""), low, high, test.get("n", ""))
            cost = "unknown" if run.cost_usd is None else run.cost_usd
            row = (label, run.name, run.simulated, *keys, played(run), *scores, cost, run.tokens)
            writer.writerow(map(_cell, row))
    return out.getvalue()


def as_object(summary: Summary, said: str) -> dict[str, Any]:
    """Return the object of `--json`; `said` is the verdict."""
    return {
        "by": list(summary.keys),
        "measure": summary.measure,
        "baseline": summary.baseline,
        "simulated_runs": summary.simulated,
        "verdict": said,
        "groups": [
            {"group": each.label, "runs": each.runs, "rounds": each.rounds.value, "rejected": each.rejected}
            | {name: _object(getattr(each, name)) for name in ("best", "test", "cost_usd")}
            | {"front": None if each.front is None else [asdict(point) for point in each.front]}
            for each in summary.groups
        ],
        "effects": [
            {name: getattr(each, name) for name in ("group", "difference", "n", "clear", "relative")}
            | {"ci95": None if each.low is None else [each.low, each.high]}
            for each in summary.effects
        ],
    }


def played(run: RunRecord) -> int:
    """Count the rounds after the start workflows, rejected ones too."""
    return sum(each.parent is not None for each in run.rounds)


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet evaluates as a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _group(label: str, runs: Sequence[RunRecord]) -> Group:
    rounds = [each for run in runs for each in run.rounds if each.parent is not None]
    return Group(
        label,
        len(runs),
        _mean(pairs.draws(runs, "best")),
        _mean(pairs.draws(runs, "test")),
        numbers.bill(runs),
        numbers.mean([played(run) for run in runs]),
        sum(each.score is None for each in rounds) / len(rounds) if rounds else 0.0,
        numbers.front(runs),
    )


def front_text(found: Sequence[Priced] | None) -> str:
    """Return a front as text, the cheapest first."""
    points = [f"{each.score:.2f} at {each.usd_a_problem:.6f}" for each in found or ()]
    return f"{', '.join(points)} USD a problem" if points else "unknown: a price is missing"


def _mean(scores: Mapping[Pair, float]) -> Mean | None:
    return numbers.mean(list(scores.values()), numbers.SCORES) if scores else None


def _object(found: Mean | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"mean": found.value, "ci95": None if found.low is None else [found.low, found.high], "n": found.n}
