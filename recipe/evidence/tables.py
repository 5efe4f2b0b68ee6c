# SPDX-License-Identifier: Apache-2.0
"""What a table of real outcomes has to find, and which search finds it for fewer executor calls.

    python -m recipe.evidence.tables mbpp [--replays 500]

Registered before the first table was looked at. Nothing is simulated: an outcome is that of a real model.

Question 1. How much better than the plain prompt is the best workflow of a table, chosen on some problems and judged on
others? 2,000 draws: the problems are split into halves at random, and each half is resampled with replacement, so the
interval covers problems and splits (it is wide, since each draw chooses and judges on half of the problems). The best
of the first half (ties: fewer tokens) is compared on the second with IO (the start), CoT, CoT-SC x5 (the language model
picks one of five draws) and Select x5 (five draws, tried on the public tests). At equal tokens of test time: the same
choice among the workflows that need at most as many tokens a problem as the baseline. Yes: the 95 % interval excludes
0. Goal: at least +0.15 over IO, and more than CoT-SC x5 at its tokens.

Question 2. Which search finds a good workflow for the fewest executor calls? A replay splits the problems into thirds:
`train`, on which an earlier run has scored 40 random workflows of the table, `validate`, on which the search scores,
and `test`. A search draws evenly among the workflows of the table that are one edit away. Arms, paired by replay:
`stock` (AFlow's rule, one edit), and the library's choice among open edits (16 nodes with 8 edits, probability per
call) at rl_weight 0, 0.25, 0.5, 0.75 and 1, where Q is the ridge on the earlier run. Endpoint (a): the executor calls
until a workflow is scored that has 95 % of the table's best validate score, within 60 rounds. Endpoint (b): the test
score of the best by validate after as many calls as 10 evaluations of the start cost. The plain alternative runs
nothing: the earlier run's best workflow, on test. Goal: the median of (a) of a guided arm is at most half of `stock`'s,
where a replay that never gets there counts as more than any. No: no guided arm has a lower median than w=0.

GSM8K, registered before its table was made: both questions as above. It has 36 workflows, of which the earlier run has
scored 28, the same share as 40 of 52. Two more baselines: Vote x5 (the exact majority of five draws) and Program (the
model writes a program). Known before: the manual workflows of recipe/evidence/real.py on other problems with other
prompts, where the plain prompt and a program did best (0.33).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Annotated, Literal

import numpy as np
import typer

from aflow_env.search.prediction.surrogate import Observation
from aflow_env.training.tiny_policy.lessons import DrawnState
from aflow_env.workflow.edits import apply_edit, describe, every_edit, format_edit
from recipe.evidence.edits.players import Edited
from recipe.evidence.edits.search import EXPLORED, LIMIT, Rule, Search, best, words
from recipe.evidence.edits.world import Score
from recipe.evidence.outcomes import KNOWN, Outcomes, Steps, digest, outcomes

RESULTS = Path(__file__).with_name("results")
LOGGED, EVALUATIONS, GOOD = 40 / 52, 10, 0.95
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class TableWorld:
    """The problems of one replay, for the in-memory search (recipe/evidence/edits/search.py)."""

    seed: int
    table: Outcomes

    def __post_init__(self) -> None:
        order = np.random.default_rng([7, self.seed]).permutation(self.table.correct_WP.shape[1])
        self.problems = dict(zip(("train", "validate", "test"), np.array_split(order, 3), strict=True))
        self.config, self.task, self.start = self.table.config, self.table, self.table.steps[0]

    def score(self, steps: Steps, split: Literal["train", "validate", "test"] = "validate") -> Score:
        """Return the score of a workflow of the table on a split, and the executor calls that it took."""
        place = self.table.places[digest(steps, self.table.spec)]
        some = self.problems[split]
        return Score(float(self.table.correct_WP[place, some].mean()), int(self.table.calls_WP[place, some].sum()))

    def earlier(self) -> tuple[list[tuple[Steps, float]], list[Observation]]:
        """Return the workflows that the earlier run has scored on `train`, with their scores and as the ridge's log."""
        some = Random(self.seed).sample(self.table.steps, logged(self.table))
        known = [(steps, self.score(steps, "train").mean) for steps in some]
        return known, [Observation(words(steps), score, len(self.problems["train"])) for steps, score in known]


@dataclass(frozen=True)
class TableEdits:
    """Draws evenly among the table's workflows that are one edit away, as a proposer behind the gate would."""

    table: Outcomes

    def propose(self, state: DrawnState, seeds: Sequence[int]) -> list[Edited | None]:
        """Return one edit a seed; None where the table has no neighbour."""
        near = neighbours(self.table, state.drawn)
        return [Random(seed).choice(near) if near else None for seed in seeds]


@cache
def neighbours(table: Outcomes, steps: Steps) -> tuple[Edited, ...]:
    """Return an edit to each other workflow of the table that one edit reaches."""
    found: dict[int | None, Edited] = {table.place(steps): Edited("", "", steps)}
    for edit in every_edit(steps, table.spec, table.config.task.instructions):
        place = table.place(apply_edit(steps, edit, table.spec))
        if place is not None:
            found.setdefault(place, Edited(format_edit(edit), describe(edit), table.steps[place]))
    return tuple(found.values())[1:]


def logged(table: Outcomes) -> int:
    """Return how many workflows the earlier run has scored."""
    return round(LOGGED * len(table.steps))


def arms(table: Outcomes) -> dict[str, Rule]:
    """Return the searches of question 2."""
    joint = Rule("all", edits=8, per_call=True, shy=True, fewest=logged(table), selection=EXPLORED)
    return {"stock": Rule(), **{f"w={w:g}": Rule(**{**vars(joint), "w": w}) for w in WEIGHTS}}


def replay(table: Outcomes, seed: int) -> Iterator[dict[str, object]]:
    """Search once with each arm; yield a row each, and one of the plain alternative."""
    world = TableWorld(seed, table)
    log = world.earlier()[1]
    for name, rule in arms(table).items():
        search = Search(world, rule, log, seed=seed, proposer=TableEdits(table))  # type: ignore[arg-type]
        yield {"arm": name, "seed": seed, **endpoints(world, search)}
    yield {"arm": KNOWN, "seed": seed, **known(world)}


def known(world: TableWorld) -> dict[str, object]:
    """Return the test score of the earlier run's best workflow, for which nothing is searched."""
    steps, _ = max(world.earlier()[0], key=itemgetter(1))
    return {"calls": None, "test": round(world.score(steps, "test").mean, 4)}


def endpoints(world: TableWorld, search: Search) -> dict[str, object]:
    """Search until both endpoints of question 2 are known, or the rounds are used; return them."""
    good = GOOD * max(world.score(steps).mean for steps in world.table.steps)
    calls = EVALUATIONS * world.score(world.start).calls
    reached, nodes = None, search.nodes
    for rounds in range(LIMIT + 1):
        nodes = search.play(rounds, 0)
        reached = next((node.calls for node in nodes if node.score >= good), None)
        if reached is not None and search.calls >= calls:
            break
    return {"calls": reached, "test": round(world.score(best(nodes, calls=calls).steps, "test").mean, 4)}


def main(name: str, replays: Annotated[int, typer.Option(help="Replays of each arm.")] = 500) -> None:
    """Replay the searches of question 2 on the table of a task; the rows go to recipe/evidence/results."""
    table = outcomes(name, name)
    with (RESULTS / f"table_{name}.jsonl").open("w") as file:
        for seed in range(replays):
            file.writelines(json.dumps(row) + "\n" for row in replay(table, seed))


if __name__ == "__main__":
    typer.run(main)
