# SPDX-License-Identifier: Apache-2.0
"""What a report says in words and in one table: which group to use, how sure that is, and what it rests on. Pure."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from aflow_env.errors import ConfigError
from aflow_env.report import numbers
from aflow_env.report.numbers import Effect, Mean
from aflow_env.report.runs import Run

FEW_PAIRS = 5
"""Below this many pairs a bootstrap interval is rough."""


@dataclass(frozen=True)
class Group:
    """A group's figures: means over runs, None where no run was scored so. `cost_usd` is a run's whole bill."""

    label: str
    runs: int
    best: Mean | None
    test: Mean | None
    cost_usd: Mean
    rounds: Mean
    rejected: float


@dataclass(frozen=True)
class Summary:
    """Runs by group, and each group against `baseline` by `measure` ("test" or "best")."""

    keys: tuple[str, ...]
    measure: str
    baseline: str
    groups: tuple[Group, ...]
    effects: tuple[Effect, ...]
    members: Mapping[str, Sequence[Run]]

    @property
    def simulated(self) -> int:
        """How many runs had a simulated executor."""
        return sum(run.simulated for run in self.runs)

    @property
    def runs(self) -> list[Run]:
        """All runs, by group."""
        return [run for members in self.members.values() for run in members]


def summarise(runs: Sequence[Run], keys: Sequence[str], baseline: str | None = None) -> Summary:
    """Group the runs by config keys. The baseline is the first group unless it is named by its label.

    Raises ConfigError for a key that no run has, and for a baseline that is no group.
    """
    for key in keys:
        if not any(key in run.config for run in runs):
            known = ", ".join(sorted({each for run in runs for each in run.config if "." not in each}))
            raise ConfigError(
                f"--by {key}: no run has such a key; keys are dotted, as in selection.c_ucb, or one of {known}"
            )
    members = numbers.grouped(runs, keys)
    base = baseline or next(iter(members))
    if base not in members:
        raise ConfigError(f"--baseline {base}: there is no such group; the groups are {'; '.join(members)}")
    measure = numbers.measure_of(runs)
    return Summary(
        tuple(keys),
        measure,
        base,
        tuple(_group(label, found) for label, found in members.items()),
        tuple(numbers.effects(members, base, measure)),
        members,
    )


def verdict(summary: Summary) -> str:
    """Which group to use and why, in two or three sentences that claim no more than the intervals do."""
    scored = [(each, _measured(each, summary.measure)) for each in summary.groups]
    known = [(each, found) for each, found in scored if found is not None]
    if not known:
        return "No run has a score yet."
    best, found = max(known, key=lambda pair: pair[1].value)
    where = "on held-out test problems" if summary.measure == "test" else "on the validate problems it was chosen by"
    said = f"{best.label} has the highest mean score {where}: {mean_text(found)}, n={found.n} runs."
    if len(known) == 1:
        return f"{said} There is no other group to compare it with."
    effect = next((each for each in summary.effects if each.group == best.label), None)
    if effect is None and best.label == summary.baseline:
        better = [each.group for each in summary.effects if each.clear and each.difference < 0]
        if better:
            return f"Use {best.label}. {said} It is the baseline, and clearly better than {', '.join(better)}: use it."
        few = " With fewer than five pairs that says little: run more seeds." if _few(summary) else ""
        return f"Keep {best.label}. {said} It is the baseline, and no other group is shown to be better: keep it.{few}"
    if effect is None:
        return f"{said} No pair of runs shares task and seed with {summary.baseline}, so no difference can be stated."
    gain = f"Against {summary.baseline} the difference is {effect.difference:+.3f}"
    if effect.low is None or effect.high is None:
        return f"{said} {gain} over a single pair: run more seeds before you believe it."
    gain += f", 95 % interval [{effect.low:+.3f}, {effect.high:+.3f}], n={effect.n} pairs"
    if not effect.clear:
        rest = "the interval holds 0, so these runs do not show that it is better; more seeds would narrow it"
        return f"Keep {summary.baseline}. {said} {gain}: {rest}."
    more = ""
    if len(summary.effects) > 1:
        count = len(summary.effects)
        more = f" It is the largest of {count} such differences, which flatters it: confirm it on new seeds."
    return f"Use {best.label}. {said} {gain}: the interval excludes 0, so use it.{more}"


def mean_text(found: Mean | None, digits: int = 3) -> str:
    """A mean with its interval, "-" where there is none."""
    if found is None:
        return "-"
    interval = "" if found.low is None else f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return f"{found.value:.{digits}f}{interval}"


def as_csv(summary: Summary) -> str:
    """One row a run: its group, its keys, what it found and what it cost."""
    out = StringIO()
    names = (
        "group",
        "run",
        "simulated",
        "task",
        "seed",
        "rl_weight",
        "rounds",
        "best",
        "test",
        "test_low",
        "test_high",
    )
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*names, "test_n", "cost_usd", "tokens"))
    for label, members in summary.members.items():
        for run in members:
            test = (run.closing or {}).get("test") or {}
            low, high = test.get("ci95") or ("", "")
            keys = (run.config.get(key, "") for key in ("task.name", "seed", "rl_weight"))
            facts = (numbers.result(run, "best"), test.get("score", ""), low, high, test.get("n", ""))
            writer.writerow((label, run.name, run.simulated, *keys, played(run), *facts, run.cost_usd, run.tokens))
    return out.getvalue()


def as_object(summary: Summary) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "by": list(summary.keys),
        "measure": summary.measure,
        "baseline": summary.baseline,
        "simulated_runs": summary.simulated,
        "verdict": verdict(summary),
        "groups": [
            {
                "group": each.label,
                "runs": each.runs,
                "best": _object(each.best),
                "test": _object(each.test),
                "cost_usd": _object(each.cost_usd),
                "rounds": each.rounds.value,
                "rejected": each.rejected,
            }
            for each in summary.groups
        ],
        "effects": [
            {
                "group": each.group,
                "difference": each.difference,
                "ci95": None if each.low is None else [each.low, each.high],
                "n": each.n,
                "relative": each.relative,
            }
            for each in summary.effects
        ],
    }


def played(run: Run) -> int:
    """Rounds after the start workflows, rejected ones too."""
    return sum(each.parent is not None for each in run.rounds)


def _group(label: str, runs: Sequence[Run]) -> Group:
    rounds = [each for run in runs for each in run.rounds if each.parent is not None]
    return Group(
        label,
        len(runs),
        _mean([numbers.result(run, "best") for run in runs]),
        _mean([numbers.result(run, "test") for run in runs]),
        numbers.mean([run.cost_usd for run in runs]),
        numbers.mean([played(run) for run in runs]),
        sum(each.score is None for each in rounds) / len(rounds) if rounds else 0.0,
    )


def _mean(values: Sequence[float | None]) -> Mean | None:
    known = [value for value in values if value is not None]
    return numbers.mean(known, numbers.SCORES) if known else None


def _measured(group: Group, measure: str) -> Mean | None:
    return group.test if measure == "test" else group.best


def _few(summary: Summary) -> bool:
    return any(each.n < FEW_PAIRS for each in summary.effects)


def _object(found: Mean | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"mean": found.value, "ci95": None if found.low is None else [found.low, found.high], "n": found.n}
