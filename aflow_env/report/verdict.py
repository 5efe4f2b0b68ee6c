# SPDX-License-Identifier: Apache-2.0
"""Say in words which group to use, how sure that is and why. Pure.

Groups are chosen by paired effects alone: the highest unpaired mean may come from easier seeds.
"""

from collections.abc import Iterator, Sequence

from aflow_env.report.pairs import FEW_PAIRS, Effect, also_differ, result
from aflow_env.report.summary import Summary, mean_text
from aflow_env.screen import plural

NAMED = 3
"""Longer lists of names end in a count."""
LONGEST = 40
"""Characters of a value."""


def verdict(summary: Summary) -> str:
    """Write a few sentences that claim no more than the intervals."""
    if not summary.scores:
        return "No run has a score yet."
    return " ".join([*_comparison(summary), *_left_out(summary), *_other_causes(summary)])


def _comparison(summary: Summary) -> Iterator[str]:
    scored = list(summary.scores)
    if summary.effects:
        yield from _choice(summary)
    elif len(scored) == 1:
        yield _score(summary, scored[0], f"The mean score of {scored[0]}")
        alone = len(summary.groups) == 1
        yield "There is no other group to compare it with." if alone else "The other groups have no score."
        return
    compared = {summary.baseline, *(each.group for each in summary.effects)}
    if apart := [label for label in scored if label not in compared]:
        yield (
            f"No run of {_some(apart)} shares task, seed, executor and kind (search or training) with a scored run of "
            f"{summary.baseline}, so no difference can be stated."
        )


def _choice(summary: Summary) -> Iterator[str]:
    better = [each for each in summary.effects if each.clear and each.difference > 0]
    worse = [each.group for each in summary.effects if each.clear and each.difference < 0]
    best = max(better or summary.effects, key=lambda each: each.difference)
    chosen = best.group if better else summary.baseline
    yield f"{'Use' if better else 'Keep'} {chosen}."
    yield _score(summary, chosen, "Its mean score")
    yield f"The difference of {best.group} to {summary.baseline} is {_effect(best)}: {_reading(best)}."
    if better and len(summary.effects) > 1:
        yield f"Picking the best of {len(summary.effects)} differences flatters it: confirm it on new seeds."
    if worse:
        yield f"Clearly worse than {summary.baseline}: {', '.join(worse)}."


def _reading(effect: Effect) -> str:
    if effect.n < FEW_PAIRS:
        return f"fewer than {FEW_PAIRS} pairs show nothing, so run more seeds before you believe it"
    if effect.clear:
        return f"the interval excludes 0{', so use it' if effect.difference > 0 else ''}"
    return "the interval holds 0, so these runs do not show that it is better; more seeds would narrow it"


def _effect(effect: Effect) -> str:
    if effect.low is None or effect.high is None:
        return f"{effect.difference:+.3f} over a single pair"
    return (
        f"{effect.difference:+.3f}, 95 % interval [{effect.low:+.3f}, {effect.high:+.3f}], n={plural(effect.n, 'pair')}"
    )


def _score(summary: Summary, label: str, subject: str) -> str:
    found = summary.scores[label]
    where = "on held-out test problems" if summary.measure == "test" else "on the validate problems it was chosen by"
    return f"{subject} {where} is {mean_text(found)}, n={plural(found.n, 'seed')}."


def _left_out(summary: Summary) -> Iterator[str]:
    names = [run.name for run in summary.runs if result(run, summary.measure) is None]
    if names:
        score = "test score" if summary.measure == "test" else "score"
        yield f"Left out for want of a {score}, {len(names)} of {plural(len(summary.runs), 'run')}: {_some(names)}."


def _other_causes(summary: Summary) -> Iterator[str]:
    differ = also_differ(summary.members, summary.baseline, summary.measure, summary.keys)
    if differ:
        keys = [f"{key} ({_some([_cut(value) for value in values])})" for key, values in differ.items()]
        yield f"Pairs also differ in {_some(keys)}: the cause may lie there."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 3]}..."
