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
from scipy.stats import spearmanr

from aflow_env.search.prediction.surrogate import Observation, fit
from recipe.evidence.edits.arms import PARTS, RESTARTED, SECONDARY, Arm, by_policies
from recipe.evidence.edits.players import Policy
from recipe.evidence.edits.search import Found, Rule, Search, best, logged
from recipe.evidence.edits.world import World
from recipe.evidence.paired import by_arm, interval

RESULTS = Path(__file__).parents[1] / "results"
LOG_SEEDS = range(10000, 10024)
CALLS, SHORT, LONG = 600, 8, 20
Row = dict[str, Any]


def play(world: World, name: str, arm: Arm, log: Sequence[Observation]) -> Row:
    """Search once; the row has the endpoints and, of arms that choose without Q, the predictions beside what came."""
    shadow = fit(log) if name in ("stock", "control") else None
    players = {policy for policy in (arm.proposer, arm.predictor) if policy}
    before = sum(policy.tokens for policy in players)
    search = Search(world, arm.rule, log, shadow=shadow, proposer=arm.proposer, predictor=arm.predictor)
    nodes = search.play(LONG if world.seed < SECONDARY else SHORT, CALLS)
    row = {"arm": name, "seed": world.seed, **endpoints(world, nodes)}
    if shadow:
        row["siblings"] = [[each.parent, round(each.predicted or 0, 4), each.score] for each in nodes[1:]]
    if players:
        row["policy_tokens"] = sum(policy.tokens for policy in players) - before
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


def table(rows: Iterable[Row]) -> str:
    """Return each arm's endpoints and its paired gains over `stock`."""
    arms = by_arm(rows)
    lines = ["SIMULATED executor", "| arm | n | 600 calls | gain | 8 rounds | gain | 20 rounds | gain | calls at 8 |"]
    for arm, found in arms.items():
        cells = []
        for name in ("calls600", "rounds8", "rounds20"):
            if not any(name in row for row in found.values()):
                cells += ["", ""]
                continue
            pairs = [(row[name], arms["stock"][seed][name]) for seed, row in found.items() if name in row]
            mean, half = interval([score - stock for score, stock in pairs])
            cells += [f"{np.mean([score for score, _ in pairs]):.3f}", f"{mean:+.3f}±{half:.3f}"]
        calls = np.mean([row["calls_at8"] for row in found.values()])
        lines.append(f"| {arm} | {len(found)} | {' | '.join(cells)} | {calls:.0f} |")
    siblings = [row["siblings"] for arm in ("stock", "control") for row in arms.get(arm, {}).values()]
    return "\n".join([*lines, f"Spearman of the ridge among siblings: {among_siblings(siblings)}"])


def among_siblings(searches: Iterable[Sequence[Sequence[float]]]) -> str:
    """Return the mean of the families' Spearman correlations, weighted by size, with the t interval over searches."""
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
    parser.add_argument("--policy", action="append", default=[], help="NAME=DIR of a checkpoint, for --part policies")
    options = parser.parse_args()
    part = PARTS[options.part]
    results = RESULTS / ("edits.jsonl" if options.part == "first" else f"edits_{options.part}.jsonl")
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    if not options.table:
        done = {(row["arm"], row["seed"]) for row in rows}
        log = list(logged(LOG_SEEDS, landscape=part.landscape))
        print(f"{len(log)} logged evaluations", flush=True)
        folders = dict(each.split("=", 1) for each in options.policy)
        policies = {name: Policy(Path(folder)) for name, folder in folders.items()}
        for seed in range(part.first, part.first + options.seeds):
            world = World.of(seed, part.landscape)
            wanted = by_policies(policies) if policies else {arm: Arm(rule) for arm, rule in part.arms(seed).items()}
            fresh = [play(world, name, arm, log) for name, arm in wanted.items() if (name, seed) not in done]
            fresh += [restarts(world)] if options.part in RESTARTED and ("restarts", seed) not in done else []
            with results.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in fresh)
            rows += fresh
            print(f"seed {seed} done", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
