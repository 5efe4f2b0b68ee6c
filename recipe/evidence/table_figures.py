# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/results.md with real outcomes, by their names in page.md: tables and live search."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recipe.evidence.outcomes import KNOWN, Outcomes, Steps, baselines
from recipe.evidence.outcomes import differences as held_out_gains
from recipe.evidence.paired import Arms, Row, by_arm, differences, gain, interval, mean, plus_minus, scored
from recipe.evidence.simulated_figures import Figures, cells

PENALISED, HERE = ((name, *(f"{name} {number}" for number in range(2, 6))) for name in ("here", "free"))
"""Policies that were trained on MBPP's table, with and without a penalty for edits that lead outside, on that table."""
PENALISED_MBPP, MBPP = ((name, *(f"{name} {number}" for number in range(2, 6))) for name in ("mbpp", "mbpp free"))
"""The same on HumanEval's."""
HUMANEVAL, GSM8K = ((name, *(f"{name} {number}" for number in (2, 3))) for name in ("humaneval free", "gsm8k"))
"""Policies that were trained on the other tables."""


def table(found: Outcomes) -> Figures:
    """Return what the table has to find (question 1), in figures named by its task."""
    task = found.spec.name
    problems = found.correct_WP.shape[1]
    scores, tokens = found.correct_WP.mean(1), found.tokens_WP.mean(1)
    lines, gains = [], {}
    for name, steps in baselines(found).items():
        place = found.place(steps)
        assert place is not None
        gains[name], equal = (held_out(held_out_gains(found, steps, same)) for same in (False, True))
        lines.append([task, name, scored(scores[place], problems), f"{tokens[place]:,.0f}", gains[name], equal])
    return {
        f"{task}_workflows": len(scores),
        f"{task}_problems": problems,
        f"{task}_gain": gains["IO"],
        f"{task}_lines": cells(lines),
        f"{task}_spread": f"{scores.min():.3f} to {scores.max():.3f}",
        f"{task}_better": int((scores > scores[0]).sum()),
    }


def searches(task: str, rows: Iterable[Row]) -> Figures:
    """Return what the replays found (question 2), in figures named by the table's task."""
    arms = by_arm(rows)
    figures: Figures = {f"{task}_replays": len(arms[KNOWN]), f"{task}_known": f"{mean(arms, KNOWN):.3f}"}
    for arm in ("stock", "w=0", "w=1"):
        found, name = arms[arm].values(), f"{task}_{arm.replace('=', '')}"
        figures[name] = f"{middle(calls(found)):,.0f}"
        figures[f"{name}_line"] = f"{median95(calls(found))}, {reached(found):.2f}, {mean(arms, arm):.3f}"
    return figures


def policies(rows: Iterable[Row]) -> Figures:
    """Return what tiny policies predict and propose on problems that none has seen (recipe/evidence/table_policies)."""
    arms = by_arm(rows)
    lines = [judged(arms, *names) for names in (("even draws, w=0", "w=0", "random"), ("the ridge", "w=1", None))]
    lines += [
        judged(arms, "untrained", "Q of untrained", "untrained"),
        together(arms, "trained on HumanEval", HUMANEVAL),
    ]
    lines.append(together(arms, "elsewhere", [f"elsewhere {number}" for number in (1, 2, 3)]))
    lines += [together(arms, "with a penalty", PENALISED), together(arms, "trained here", HERE)]
    return {
        "policies_lines": cells(lines),
        "policies_n": len(arms["w=0"]),
        "policies_trainings": len(HERE),
        "policies_even": reached(arms["random proposes"].values()),
        "policies_known": f"{mean(arms, KNOWN):.3f}",
        "policies_foreign": len(arms["elsewhere 1 proposes"]),
        "policies_other": gain(arms, "humaneval proposes", "random proposes"),
        "policies_stock": median95(calls(arms["stock"].values())),
        "policies_elsewhere": ", ".join(saved(arms, f"Q of elsewhere {number}") for number in (1, 2, 3)),
        **trained(arms, "here", HERE),
        **trained(arms, "here_penalised", PENALISED),
        **trained(arms, "back", HUMANEVAL),
    }


def transfer(rows: Iterable[Row]) -> Figures:
    """Return what the policies that were trained on MBPP's table do on HumanEval's."""
    arms = by_arm(rows)
    lines = [judged(arms, *names) for names in (("even draws, w=0", "w=0", "random"), ("the ridge", "w=1", None))]
    lines.append(judged(arms, "untrained", "Q of untrained", "untrained"))
    lines.append(together(arms, "trained on MBPP, with a penalty", PENALISED_MBPP))
    lines += [together(arms, "trained on MBPP", MBPP), together(arms, "trained here", HUMANEVAL)]
    return {
        "transfer_lines": cells([[f"humaneval: {name}", *rest] for name, *rest in lines]),
        "transfer_n": len(arms["w=0"]),
        "transfer_stock": median95(calls(arms["stock"].values())),
        "transfer_known": f"{mean(arms, KNOWN):.3f}",
        **trained(arms, "transfer", MBPP),
        **trained(arms, "transfer_penalised", PENALISED_MBPP),
        **trained(arms, "humaneval", HUMANEVAL),
    }


def where_nothing_is_found(rows: Iterable[Row]) -> Figures:
    """Return what the policies that were trained on GSM8K's table do on it."""
    arms = by_arm(rows)
    lines = [judged(arms, "even draws, w=0", "w=0", "random"), together(arms, "trained here", GSM8K)]
    return {
        "gsm8k_policies_lines": cells([[f"gsm8k: {name}", *rest] for name, *rest in lines]),
        **trained(arms, "gsm8k_trained", GSM8K),
    }


def trained(arms: Arms, name: str, players: Sequence[str]) -> Figures:
    """Return the figures of several trainings of a kind: their Q, their proposals, and how many of each are better."""
    predicted = [arms[f"Q of {each}"].values() for each in players]
    return {
        f"{name}_q": ", ".join(saved(arms, f"Q of {each}") for each in players),
        f"{name}_q_calls": ", ".join(f"{middle(calls(rows)):.0f}" for rows in predicted),
        f"{name}_q_good": sum(fewer(paired_calls(arms, f"Q of {each}"))[1] < 0 for each in players),
        f"{name}_gains": ", ".join(gain(arms, f"{each} proposes", "random proposes") for each in players),
        f"{name}_good": good_trainings(arms, players),
        f"{name}_calls": reaching(arms, players),
    }


def good_trainings(arms: Arms, players: Sequence[str]) -> int:
    """Return how many players propose better than even draws, by the t interval of the paired difference."""
    found = (interval(differences(arms, f"{name} proposes", "random proposes")) for name in players)
    return sum(centre > half for centre, half in found)


def reaching(arms: Arms, players: Sequence[str]) -> str:
    """Print each player's share of replays that find a good workflow by its proposals, and the median calls to it."""
    found = [arms[f"{name} proposes"].values() for name in players]
    return ", ".join(f"{reached(rows):.0%} ({middle(calls(rows)):.0f})" for rows in found)


def together(arms: Arms, name: str, players: Sequence[str]) -> list[str]:
    """Return one line of several trainings of a kind."""
    lines = [judged(arms, each, f"Q of {each}", each) for each in players]
    return [name, *(", ".join(filter(None, cell)) for cell in list(zip(*lines, strict=True))[1:])]


def judged(arms: Arms, name: str, predicts: str, proposes: str | None) -> list[str]:
    """Return a line: the searches in which a player predicts, its edits of the start, and where it proposes."""
    less = "" if predicts == "w=0" else saved(arms, predicts)
    line = [name, f"{middle(calls(arms[predicts].values())):,.0f}", less, f"{mean(arms, predicts):.3f}"]
    if proposes is None:
        return [*line, "", "", ""]
    start, arm = arms[f"{proposes} from the start"][0], f"{proposes} proposes"
    score = "" if start["test"] is None else f"{start['test']:.3f}"
    ahead = f"{mean(arms, arm):.3f}" if proposes == "random" else gain(arms, arm, "random proposes")
    return [*line, f"{start['valid']:.2f}", score, ahead]


def saved(arms: Arms, arm: str) -> str:
    """Print the difference of an arm's median of calls to that of w=0 with its paired bootstrap interval."""
    pairs = paired_calls(arms, arm)
    low, high = fewer(pairs)
    return f"{middle(pairs[:, 0]) - middle(pairs[:, 1]):+,.0f} [{low:+,.0f}, {high:+,.0f}]"


def fewer(pairs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bootstrap interval of the difference of the two medians of `paired_calls`."""
    draws = pairs[np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))]
    own, other = np.moveaxis(np.median(draws, axis=1), -1, 0)
    low, high = np.quantile(own - other, [0.025, 0.975])
    return float(low), float(high)


def paired_calls(arms: Arms, arm: str) -> NDArray[np.float64]:
    """Return (seeds, 2): the calls of an arm and of w=0 in the replays that have both."""
    unguided = arms["w=0"]
    return np.array([calls([arms[arm][seed], unguided[seed]]) for seed in sorted(arms[arm]) if seed in unguided])


def proposers(rows: Iterable[Row]) -> Figures:
    """Return what a real language model proposes (recipe/evidence/proposers)."""
    arms = by_arm(rows)
    lines = [proposer(arms, arm) for arm in arms]
    first = next(iter(arms))
    return {
        "proposers_lines": cells(lines),
        "proposers_n": len(arms[first]),
        **{f"proposers_{name}": gain(arms, arm, first) for name, arm in (("free", "LLM"), ("held", "LLM, held"))},
    }


def proposer(arms: Arms, arm: str) -> list[str]:
    """Return an arm's line; its pair is the random arm with the same lookahead."""
    said, to = fates(arms[arm]), "random, 16 nodes" if arm in ("random, 16 nodes", "LLM, held, its Q") else "random"
    shares = [f"{said[name]:.2f}" for name in ("valid", "outside", "repeated", "new")]
    costs = [f"{mean(arms, arm, name):,.0f}" for name in ("calls", "policy_tokens")]
    ahead = "" if arm == to else gain(arms, arm, to)
    return [arm, *shares, f"{mean(arms, arm, 'validate'):.3f}", f"{mean(arms, arm):.3f}", ahead, *costs]


def fates(searches: Mapping[int, Row]) -> dict[str, float]:
    """Return the shares of an arm's proposals by what became of them."""
    total = sum((Counter(row["proposals"]) for row in searches.values()), Counter[str]())
    shares = {name: total[name] / total.total() for name in ("new", "repeated", "outside", "invalid")}
    return {**shares, "valid": 1 - shares["invalid"]}


def live(found: Outcomes) -> Figures:
    """Return what the arms of recipe/evidence/live.py solve on the test problems (question 3)."""
    problems, correct = found.correct_WP.shape[1], {name: found.correct_WP[place] for name, place in found.arms.items()}
    lines, gains = [], {}
    for name, place in found.arms.items():
        gains[name] = [plus_minus(correct[name] - correct[to]) for to in ("IO", "CoT-SC x5")]
        score, tokens = scored(correct[name].mean(), problems), f"{found.tokens_WP[place].mean():,.0f}"
        lines.append([name, said(found.steps[place]), score, tokens, *gains[name]])
    return {
        "live_problems": problems,
        "live_lines": cells(lines),
        "live_gain": gains["search"][0],
        "live_over_votes": gains["search"][1],
    }


def said(steps: Steps) -> str:
    """Return the operators of a workflow with their samples; a step with an instruction has a star."""
    samples = {step: f" x{step.samples}" if step.samples else "" for step in steps}
    return ", ".join(f"{step.operator}{'*' if step.instruction else ''}{samples[step]}" for step in steps)


def held_out(gains: NDArray[np.float64]) -> str:
    """Print the mean of the draws with their 95 % interval."""
    low, high = np.quantile(gains, [0.025, 0.975])
    return f"{np.mean(gains):+.3f} [{low:+.3f}, {high:+.3f}]"


def calls(rows: Iterable[Row]) -> list[float]:
    """Return each replay's calls to a good workflow; infinity where it found none."""
    return [np.inf if row["calls"] is None else row["calls"] for row in rows]


def median95(values: list[float]) -> str:
    """Print the median with its 95 % bootstrap interval over replays."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return f"{middle(values):,.0f} [{low:,.0f}, {high:,.0f}]"


def middle(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the median."""
    return float(np.median(values))


def reached(rows: Iterable[Row]) -> float:
    """Return the share of replays that found a good workflow."""
    return float(np.mean(np.isfinite(calls(rows))))
