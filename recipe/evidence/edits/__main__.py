# SPDX-License-Identifier: Apache-2.0
"""Run the arms that the package's docstring registers, and print their table."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr, t

from aflow_env.search.prediction.surrogate import Observation, fit
from recipe.evidence.edits.search import EXPLORED, Found, Rule, Search, best, logged
from recipe.evidence.edits.world import World

RESULTS = Path(__file__).parents[1] / "results"
LOG_SEEDS = range(10000, 10024)
CALLS, SHORT, LONG = 600, 8, 20
SECONDARY = 30
PARTS = {"first": (0, "edits.jsonl"), "follow": (100, "edits_follow.jsonl"), "confirm": (200, "edits_confirm.jsonl")}
"""The first seed of each registered part, and the file of its results."""
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
Row = dict[str, Any]


def arms() -> dict[str, Rule]:
    """The arms of all seeds."""
    joint = {f"joint {mix} w={w:g}": Rule(mix, w, 8, selection=EXPLORED) for mix in ("all", "best") for w in WEIGHTS}
    plain = {
        "stock": Rule(),
        "control": Rule("rank", 0, 8),
        "rank 8": Rule("rank", 1, 8),
        "rank 32": Rule("rank", 1, 32),
    }
    return {**plain, **joint}


def secondary() -> dict[str, Rule]:
    """The arms of the first seeds only."""
    base = Rule("best", 0.75, 8, selection=EXPLORED)
    return {
        **{f"joint nodes w={w:g}": replace(base, mix="nodes", w=w) for w in (0.0, 0.5, 1.0)},
        **{f"joint top w={w:g}": replace(base, mix="top", w=w) for w in (0.5, 1.0)},
        "best w=0.75, 4 nodes": replace(base, nodes=4),
        "best w=0.75, 32 edits": replace(base, edits=32),
        "best w=0.75, 4 nodes x 32": replace(base, nodes=4, edits=32),
        "best w=0.75, c_ucb=0": replace(base, selection=EXPLORED.model_copy(update={"c_ucb": 0.0})),
        "best w=0.75, no log": replace(base, log=0),
        "best w=0.75, log of 40": replace(base, log=40),
        "best w=0.75, log of 150": replace(base, log=150),
        "rank 8, fresh": Rule("rank", 1, 8, fresh=True),
    }


def first_arms(seed: int) -> dict[str, Rule]:
    """The arms of a seed of the first part."""
    return {**arms(), **(secondary() if seed < SECONDARY else {})}


def followed() -> dict[str, Rule]:
    """The arms of the follow-up, on seeds of its own."""
    base = Rule("all", 0.75, 8, selection=EXPLORED)
    best4 = replace(base, mix="best")
    select = EXPLORED.model_copy
    return {
        "stock": Rule(),
        "rank 8, fresh": Rule("rank", 1, 8, fresh=True),
        "all": base,
        "all, w=1": replace(base, w=1),
        "all, 32 edits": replace(base, edits=32),
        "all, 4 nodes": replace(base, nodes=4),
        "all, alpha=0.4": replace(base, selection=select(update={"alpha": 0.4})),
        "all, lambda=0": replace(base, selection=select(update={"lambda_": 0.0})),
        "all, price 0.01": replace(base, price=0.01),
        "all, per call": replace(base, per_call=True),
        "all, 32 edits, per call": replace(base, edits=32, per_call=True),
        "best, 32 edits": replace(best4, edits=32),
        "best, sample=16": replace(best4, selection=select(update={"sample": 16})),
        "best, price 0.01": replace(best4, price=0.01),
    }


def confirmed() -> dict[str, Rule]:
    """The arms of the confirmation, on seeds of its own."""
    base = Rule("all", 0, 8, per_call=True, selection=EXPLORED)
    return {
        "stock": Rule(),
        **{f"per call w={w:g}": replace(base, w=w) for w in WEIGHTS},
        "all w=0.75": replace(base, w=0.75, per_call=False),
    }


def play(world: World, name: str, rule: Rule, log: Sequence[Observation]) -> Row:
    """Search once; the row has the endpoints and, of arms that choose without Q, the predictions beside what came."""
    shadow = fit(log) if name in ("stock", "control") else None
    search = Search(world, rule, log, shadow=shadow)
    nodes = search.play(LONG if world.seed < SECONDARY else SHORT, CALLS)
    row = {"arm": name, "seed": world.seed, **endpoints(world, nodes)}
    if shadow:
        row["siblings"] = [[each.parent, round(each.predicted or 0, 4), each.score] for each in nodes[1:]]
    return row


def restarts(world: World) -> Row:
    """Stock searches of at most half the calls, one after another, as many as the calls allow."""
    nodes: list[Found] = []
    spent = 0
    for number in range(10):
        found = Search(world, Rule(), seed=1000 * world.seed + number).play(1, CALLS // 2)
        found = [each for each in found if each.calls <= CALLS // 2 and spent + each.calls <= CALLS]
        if not found:
            break
        nodes += [replace(each, calls=spent + each.calls) for each in found]
        spent = nodes[-1].calls
    return {"arm": "restarts", "seed": world.seed, **endpoints(world, nodes)}


def endpoints(world: World, nodes: Sequence[Found]) -> Row:
    """Test scores of the best workflow by validate, and what the rounds cost."""
    chosen = {"calls600": best(nodes, calls=CALLS), "rounds8": best(nodes, rounds=SHORT)}
    if world.seed < SECONDARY:
        chosen["rounds20"] = best(nodes, rounds=LONG)
    row: Row = {name: round(world.score(node.steps, "test").mean, 4) for name, node in chosen.items()}
    row["calls_at8"] = max(each.calls for each in nodes if each.round <= SHORT)
    row["nodes_at600"] = sum(each.calls <= CALLS for each in nodes)
    return row


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half of the 95 % t interval)."""
    sample = np.asarray(values)
    return float(sample.mean()), float(t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))


def table(rows: Iterable[Row]) -> str:
    """Each arm's endpoints and its paired gains over `stock`."""
    by_arm: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        by_arm[row["arm"]][row["seed"]] = row
    lines = ["SIMULATED executor", "| arm | n | 600 calls | gain | 8 rounds | gain | 20 rounds | gain | calls at 8 |"]
    for arm, found in by_arm.items():
        cells = []
        for name in ("calls600", "rounds8", "rounds20"):
            if not any(name in row for row in found.values()):
                cells += ["", ""]
                continue
            pairs = [(row[name], by_arm["stock"][seed][name]) for seed, row in found.items() if name in row]
            mean, half = interval([score - stock for score, stock in pairs])
            cells += [f"{np.mean([score for score, _ in pairs]):.3f}", f"{mean:+.3f}±{half:.3f}"]
        calls = np.mean([row["calls_at8"] for row in found.values()])
        lines.append(f"| {arm} | {len(found)} | {' | '.join(cells)} | {calls:.0f} |")
    siblings = [row["siblings"] for arm in ("stock", "control") for row in by_arm[arm].values()]
    return "\n".join([*lines, f"Spearman of the ridge among siblings: {among_siblings(siblings)}"])


def among_siblings(searches: Iterable[Sequence[Sequence[float]]]) -> str:
    """The mean of the families' Spearman correlations, weighted by size, with the t interval over searches."""
    means, families = [], 0
    for rows in searches:
        by_parent: dict[float, list[tuple[float, float]]] = defaultdict(list)
        for parent, predicted, score in rows:
            by_parent[parent].append((predicted, score))
        big = [
            family for family in by_parent.values() if len(family) >= 4 and all(map(np.ptp, zip(*family, strict=True)))
        ]
        if big:
            families += len(big)
            values = [spearmanr(*zip(*family, strict=True)).statistic for family in big]
            means.append(float(np.average(values, weights=[len(family) for family in big])))
    mean, half = interval(means)
    return f"{mean:.2f}±{half:.2f} ({families} families of 4 and more, {len(means)} searches)"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--table", action="store_true", help="print the table of the stored results, run nothing")
    parser.add_argument(
        "--part", choices=PARTS, default="first", help="which registered part, each on seeds of its own"
    )
    options = parser.parse_args()
    first, name = PARTS[options.part]
    results = RESULTS / name
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    if not options.table:
        done = {(row["arm"], row["seed"]) for row in rows}
        log = list(logged(LOG_SEEDS))
        print(f"{len(log)} logged evaluations", flush=True)
        for seed in range(first, first + options.seeds):
            world = World.of(seed)
            later = {"follow": followed, "confirm": confirmed}
            wanted = later[options.part]() if options.part in later else first_arms(seed)
            fresh = [play(world, arm, rule, log) for arm, rule in wanted.items() if (arm, seed) not in done]
            fresh += [] if options.part in later or ("restarts", seed) in done else [restarts(world)]
            with results.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in fresh)
            rows += fresh
            print(f"seed {seed} done", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
