# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/results.md whose executor is simulated, by their names in page.md."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from recipe.evidence.learning_results import differences as steps_saved
from recipe.evidence.learning_results import interval as median_interval
from recipe.evidence.paired import Arms, Row, differences, gain, mean, success

WEIGHTS = ("0", "0.25", "0.5", "0.75", "1")
STOCK, RANDOM, LONG = "stock", "random edits, w=0", "trained, w=0, 20 rounds"
ONCE = "actor_rollout_ref.actor.ppo_mini_batch_size=4"
TRAININGS = {
    "`make train`, two updates a step": [f"halves{n}" for n in ("", *range(2, 10))],
    f"one update a step (`{ONCE}`)": ["trained", "second", "third", "fourth", "fifth", "sixth"],
    "one update a step, `q.rule=log q.replay=8 q.loss_weight=0.1`": ["replay", "replay2", "replay3", "replay4"],
}
"""How policies were trained, all else equal, and their names."""
USD_PER_MILLION = 1.5
"""The simulated executor's price of output, charged for each token of the policy, too."""
TRAINING_USD = 0.6456
"""The bill of a `make train` by its closing table; not in the data."""
POLICIES = ("untrained", "trained")
"""The tiny policy as it is built, and after `make train`, as proposer and predictor."""
FURTHER = ("second", "third")
"""The policies of two more trainings."""
BAR = 0.20
"""The gain of a training that succeeded."""
Figures = dict[str, Any]


def edits(first: Arms, confirm: Arms, library: Arms, traps: Arms) -> Figures:
    """Return the figures of predicted edits, by part of the experiment."""
    same = {STOCK: STOCK, **{f"per call w={w}": f"w={w}" for w in WEIGHTS}}
    both = {later: {**confirm[before], **library[later]} for before, later in same.items()}
    at = "calls600"
    rows = (
        ("all pairs", first, "joint all w={}"),
        ("best 4 pairs, one of round 1", first, "joint best w={}"),
        ("all pairs, per call (the library's rule)", confirm, "per call w={}"),
        ("the same on further seeds", library, "w={}"),
        ("both together", both, "w={}"),
        ("a landscape with traps", traps, "w={}"),
    )
    lines = [
        [name, str(len(arms[STOCK])), *(gain(arms, arm.format(w), STOCK, at) for w in WEIGHTS)]
        for name, arms, arm in rows
    ]
    return {
        "both_n": len(both[STOCK]),
        "library_n": len(library[STOCK]),
        "traps_n": len(traps[STOCK]),
        "both_gain": gain(both, "w=1", STOCK, at),
        "both_alone": gain(both, "w=1", "w=0", at),
        "both_stock": f"{mean(both, STOCK, at):.3f}",
        "both_full": f"{mean(both, 'w=1', at):.3f}",
        "library_no_log": gain(library, "w=1, no log", STOCK, at),
        "traps_gain": gain(traps, "w=1", STOCK, at),
        "edits_table": cells(lines),
        **{name: gain(first, name, STOCK, at) for name in ("control", "restarts")},
    }


def proposals(arms: Arms) -> Figures:
    """Return the figures of trained policies, and of the settings that gave nothing."""
    found = {setting: gains(arms, names) for setting, names in TRAININGS.items()}
    lines = []
    for setting, mine in found.items():
        good, share, mean_gain = success(mine, BAR)
        lines.append([setting, str(len(mine)), f"{good} ({share})", mean_gain, f"{min(mine):+.3f}"])
    runs = next(iter(found.values()))
    good, share, mean_gain = success(runs, BAR)
    usd = mean(arms, STOCK, "executor_usd") + mean(arms, STOCK, "policy_tokens") * USD_PER_MILLION / 1e6
    earned = arms["trained, remembering Q, w=1 by skill, 20 rounds"]

    return {
        **{"bar": BAR, "runs": len(runs), "runs_good": good, "runs_share": share, "runs_gain": mean_gain},
        "random_score": f"{mean(arms, RANDOM):.3f}",
        "trainings": cells(lines),
        "untrained": gain(arms, "untrained, w=0", RANDOM),
        "usd": TRAINING_USD,
        "as_many": TRAINING_USD / usd,
        "state_q": gain(arms, "trained, w=1", "trained, w=0"),
        "state_ranks": gain(arms, "replay, w=1", "replay, w=0"),
        "memory": gain(arms, "trained, remembering Q, w=1, 20 rounds", LONG),
        "counted": gain(arms, "trained, Q that counts rejections, w=1, 20 rounds", LONG),
        "prior": f"{gains(arms, ['prior'])[0]:+.3f}",
        "similar": " and ".join(f"{each:+.3f}" for each in gains(arms, ["similar", "similar2"])),
        "unmoved": sum(row["path"] == arms[LONG][seed]["path"] for seed, row in earned.items()),
        "earned": len(earned),
    }


def players(arms: Arms) -> Figures:
    """Return the figures of searches by who proposes and who predicts."""
    at = "calls600"
    rows = {"random edits, Q of the trained policy": ("", "random edits, trained Q, w={}")}  # w=0: another part's
    for name in POLICIES:
        for said, predictor in (("its Q", f"{name} Q"), ("the ridge", "surrogate")):
            rows[f"{name} policy proposes, {said}"] = (f"{name} proposes, w=0", f"{name} proposes, {predictor}, w={{}}")
    lines = []
    for name, (alone, arm) in rows.items():
        columns = (alone, arm.format("0.5"), arm.format("1"))
        found = [f"{mean(arms, each, at):.3f}, {gain(arms, each, STOCK, at)}" if each else "" for each in columns]
        lines.append([name, str(len(arms[columns[-1]])), *found])
    guided, unguided = "trained proposes, trained Q, w=1", "trained proposes, w=0"
    return {
        "players_lines": cells(lines),
        "players_n": len(arms[guided]),
        "players_stock": f"{mean(arms, STOCK, at):.3f}",
        "players_gain": gain(arms, guided, STOCK, at),
        "players_own": gain(arms, guided, unguided, at),
        "players_tokens": mean(arms, guided, "policy_tokens"),
        "further_own": " and ".join(
            gain(arms, f"{name} proposes, {name} Q, w=1", f"{name} proposes, w=0", at) for name in FURTHER
        ),
        "further_random": " and ".join(gain(arms, f"random edits, {name} Q, w=1", STOCK, at) for name in FURTHER),
    }


def state_values(predictors: Mapping[str, Any]) -> Figures:
    """Return the figures of a Q of workflows that learned by the quadratic rule."""
    second = predictors["second"]
    return {
        "quadratic": second["predictors"]["Q_theta"]["spread"],
        "target": second["target_spread"],
        "asked": second["cases"],
        "workflows": second["workflows"],
    }


def gains(arms: Arms, policies: Sequence[str]) -> list[float]:
    """Return the mean gain over random edits of each policy that proposes and is not followed."""
    return [fmean(differences(arms, f"{policy}, w=0", RANDOM)) for policy in policies]


def q(runs: Sequence[Row]) -> Figures:
    """Return the figures of the policy's own Q, by the names of recipe/evidence/q_training.py."""
    rules = {"unclipped": "as now, w=0.5", "sweep": "w=0.25, 0.5, 0.75, 1", "rows": "clipped"}
    guided = [row for row in runs if "-w0-" not in row["run"]]
    found = {rule: [row for row in guided if row["replay"] == rule] for rule in (*rules, "small", "pairs")}
    test = {rule: f"{fmean(row['test'] for row in rows):.3f}" for rule, rows in found.items()}

    def middle(rule: str, key: str) -> str:
        return f"{median(row[key] for row in found[rule]):.2f}"

    lines = [
        [
            *(name, str(len(found[rule])), ", ".join(f"{row['within']:.2f}" for row in found[rule])),
            *(middle(rule, key) for key in ("within", "surrogate_within", "skill")),
            f"{middle(rule, 'chosen')}, {middle(rule, 'chosen_surrogate')}" if "chosen" in found[rule][0] else "",
            test[rule],
        ]
        for rule, name in rules.items()
    ]
    own, chosen = ([row[key] for row in found["unclipped"]] for key in ("within", "chosen"))
    both = found["unclipped"] + found["sweep"]
    return {
        **{f"q_both_{key}": f"{median(row[key] for row in both):.2f}" for key in ("within", "chosen")},
        "q_both": len(both),
        "q_trainings": len(own),
        "q_range": f"{min(own):.2f} to {max(own):.2f}",
        "q_median": f"{middle('unclipped', 'within')}, the ridge {middle('unclipped', 'surrogate_within')}",
        "q_before": middle("rows", "within"),
        "q_chosen": f"{middle('unclipped', 'chosen')}, the ridge {middle('unclipped', 'chosen_surrogate')}",
        "q_chosen_each": ", ".join(f"{value:.2f}" for value in chosen),
        "q_table": cells(lines),
        **{f"q_{rule}_test": f"{test[rule]} (n={len(found[rule])})" for rule in ("rows", "pairs", "small")},
    }


def learning(runs: Sequence[Row]) -> Figures:
    """Return the figures of GiGPO beside GRPO."""
    chain = steps_saved(runs, "chain")
    return {
        "seeds": len(chain),
        "chain": median_interval(chain),
        "faster": sum(each < 0 for each in chain),
        **{
            f"{environment}_{estimator}": median_interval(
                [run["steps"] for run in runs if (run["environment"], run["estimator"]) == (environment, estimator)]
            )
            for environment in ("bandit", "chain")
            for estimator in ("gigpo", "grpo")
        },
    }


def cells(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
