# SPDX-License-Identifier: Apache-2.0
"""Whether tiny policies predict and propose edits on a table of real outcomes, and whether their training transfers.

    python -m recipe.evidence.table_policies mbpp --policy "untrained=DIR" --policy "here=DIR" ...

Registered before the first run. Nothing is simulated on the table. Seen before, while replays were timed: what the
warm start of arithmetic and one policy trained there propose from the start (0.05 and 0.01 valid), and even draws.

Policies. `untrained`: the warm start on this task's edits (`${aflow_tiny_policy:mbpp}`), whose Q hardly differs between
edits. `here`: one `python -m verl.trainer.main_ppo --config-name aflow_gigpo_cpu_table` from it, which trains on the
table's validate half (30 problems). One training says nothing of others. `arithmetic`: the warm start on arithmetic,
whose tokenizer splits the words of this task. `elsewhere 1` to `3`: three `make train` from that on arithmetic with a
SIMULATED executor. They can transfer only what two tasks share: steps, samples, Custom and ScEnsemble, the scores in a
prompt, and digits as answers.

Replays are those of question 2 (recipe/evidence/tables.py), but the earlier run of the ridge has the validate half, and
`validate` and `test` are halves (15 each, drawn for each replay) of the other 30 problems, which no arm has seen.
Replays share these 30, so intervals cover draws and splits, and no other problems.

Question A1, Q. Arms, paired by replay, all with even draws among the table's neighbours: `stock`, `w=0`, `w=1` with the
ridge, and w=1 with the Q of each policy. Endpoints as in question 2: (a) the median calls to 95 % of the best validate
score within 60 rounds, (b) the test score after the calls of 10 starts. Yes for a policy: its median of (a) is below
that of `w=0`, and the bootstrap interval over replays of the difference of medians excludes 0. Transfer: yes for at
least two of the three trained elsewhere.

Question A2, proposals. Arms: stock's rule, one proposal a round, of which those outside the table are rejected, as the
gate does. They cost a round and no call. `random proposes` draws evenly from the grammar, `X proposes` asks a policy.
Also, from the start, whose edits are all in the table: the share of 512 proposals that are valid, and their mean score
on the 30 unseen problems, beside the same of the even draws. Yes for a policy: (b) above `random proposes`, the t
interval of the paired difference excluding 0.

n: 100 replays of A1 and the first 40 of A2, about 15 minutes of one core by the timing of three replays. Changed after
two replays: the policies of arithmetic propose in the first 10 only, since 0 to 5 % of their proposals are valid.
Stopped after 40 replays of every arm by the clock. The plain alternative of question 2 was added after the first look.

HumanEval, registered before anything of its table but its size was looked at: does training transfer between two real
tasks that share operators and phrases? `mbpp` is the policy `here` of MBPP's table, `untrained` the warm start that it
began from. Arms, endpoints and what counts as yes are those of A1 and A2, with 40 replays.

Registered after that, before they ran: one training says nothing of others, so `mbpp 2` and `mbpp 3` are two more
(aflow.seed=1 and 2). Transfer: yes if two of the three are. The other way around, `humaneval` is one training on
HumanEval's table (`aflow/task=humaneval aflow.task.table=humaneval`), which plays on MBPP's.

Not registered: since `mbpp 2` and `mbpp 3` gained nothing on HumanEval, they played on MBPP's other 30 problems, too
(`here 2`, `here 3`), and two more trainings (`here 4` and `here 5`, aflow.seed=3 and 4) showed how often one succeeds.
The first training (`here`, `mbpp`) is of the time when the ratio of value rows was clipped.

Registered before they ran: why do two of these five fail? From the start 39 of 57 edits are `add`, and these alone
reach more than 0.35. From the other 51 workflows all 2,622 `add` lead outside the table, of `replace` 40 % and of
`set_prompt` 57 %. Each costs `reward.invalid_penalty`, 0.1. A policy that is much the same at every workflow so learns
not to add. `free` and `free 2` to `free 5` are five trainings with aflow.reward.invalid_penalty=0 (aflow.seed=0 to 4).
Yes, and conf/aflow_gigpo_cpu_table.yaml gets it: at least four succeed in A2, and none ends with less than 0.9 valid.
Five and five trainings do not show that a rate of 0.6 rose; the reason is the penalty for what is no mistake.

Registered before they ran: the Q of these five on MBPP (A1), and both questions on HumanEval, where they are
`mbpp free` to `mbpp free 5`, with 40 replays. Q: yes if at least four of the five are below `w=0` by A1's rule.
Transfer: yes if at least four of the five gain in A2 on HumanEval.

Registered before they ran, since no workflow of GSM8K's table beats the plain prompt on held-out problems: `gsm8k` to
`gsm8k 3`, three trainings on that table (aflow.seed=0 to 2), 40 replays of A2. A search can gain without such a
workflow, by staying away from what is worse. Yes: at least two of three gain.

Registered before they ran, the other way around without a penalty: `humaneval free` to `humaneval free 3`, three
trainings on HumanEval's table (aflow.seed=0 to 2), 40 replays of A1 and A2 on that table and on MBPP's. Yes for either
table: at least two of three gain in A2.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from aflow_env.tasks import load_task
from aflow_env.tasks.table import TableTask
from aflow_env.training.tiny_policy.build import prompt_settings
from aflow_env.training.tiny_policy.lessons import DrawnState
from aflow_env.workflow.program import Workflow
from recipe.evidence.edits.players import Edited, Policy, RandomEdits
from recipe.evidence.edits.search import Rule, Search
from recipe.evidence.edits.world import Steps
from recipe.evidence.outcomes import KNOWN, Outcomes, outcomes
from recipe.evidence.tables import RESULTS, TableEdits, TableWorld, arms, endpoints, known

REPLAYS, PROPOSED, DRAWS = 40, 40, 512
LONGEST = 96
"""`data.max_response_length` of conf/aflow_gigpo_cpu_table.yaml."""
Proposer = Policy | RandomEdits
Key = tuple[Steps, float, str]
Row = dict[str, object]


@dataclass
class UnseenWorld(TableWorld):
    """A replay whose earlier run has the problems of the training, and whose search has the others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        seen, unseen = halves(self.table)
        order = np.random.default_rng([7, self.seed]).permutation(unseen)
        self.problems = dict(zip(("train", "validate", "test"), (seen, *np.array_split(order, 2)), strict=True))


@cache
def halves(table: Outcomes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the problems that a training on the table sees, and of those that it does not."""
    task = load_task(table.config.task)
    assert isinstance(task, TableTask)
    places = {name: place for place, name in enumerate(task.table.header.problems)}
    seen, unseen = ([places[problem.id] for problem in task.load(split)] for split in ("validate", "test"))
    return np.array(seen), np.array(unseen)


@dataclass(eq=False)
class Remembered:
    """A policy whose Q of an edit is kept across searches. The question has no more than this key and a fixed n."""

    policy: Policy
    known: dict[Key, float] = field(default_factory=dict)

    def predict(self, state: DrawnState, edits: Sequence[Edited]) -> list[float]:
        """Q of each edit."""
        keys = [(state.drawn, state.score, edit.text) for edit in edits]
        new = {key: edit for key, edit in zip(keys, edits, strict=True) if key not in self.known}
        if new:
            self.known.update(zip(new, self.policy.predict(state, list(new.values())), strict=True))
        return [self.known[key] for key in keys]


@dataclass(frozen=True)
class Gated:
    """A proposer behind the gate: an edit that leads outside the table is none."""

    table: Outcomes
    proposer: Proposer

    def propose(self, state: DrawnState, seeds: Sequence[int]) -> list[Edited | None]:
        """Return one edit a seed; None where it is invalid or outside."""
        found = self.proposer.propose(state, seeds)
        return [each if each and self.table.place(each.steps) is not None else None for each in found]


@dataclass(frozen=True)
class Arm:
    """One way to search. Only arms of question A1 have all replays."""

    rule: Rule
    proposer: TableEdits | Gated
    predictor: Remembered | None = None

    def row(self, table: Outcomes, seed: int) -> Row:
        """Search once; return the endpoints, and the share of rounds that ran a workflow."""
        world = UnseenWorld(seed, table)
        parts = {"proposer": self.proposer, "predictor": self.predictor}
        search = Search(world, self.rule, world.earlier()[1], seed=seed, **parts)  # type: ignore[arg-type]
        found = endpoints(world, search)
        return {"seed": seed, **found, "passed": round((len(search.nodes) - 1) / search.played, 4)}


def searches(table: Outcomes, proposers: Mapping[str, Proposer]) -> dict[str, Arm]:
    """Return the arms of both questions."""
    rules, even = arms(table), TableEdits(table)
    found = {name: Arm(rules[name], even) for name in ("stock", "w=0", "w=1")}
    players = {name: Remembered(player) for name, player in proposers.items() if isinstance(player, Policy)}
    found |= {f"Q of {name}": Arm(rules["w=1"], even, player) for name, player in players.items()}
    return found | {f"{name} proposes": Arm(Rule(), Gated(table, each)) for name, each in proposers.items()}


def from_start(table: Outcomes, proposer: Proposer) -> Row:
    """Return the share of proposals from the start that are valid, and their mean score on the unseen problems."""
    world = UnseenWorld(0, table)
    state = DrawnState(Workflow("", ""), table.spec, world.score(world.start).mean, 15, (), (), world.start)
    places = [table.place(each.steps) for each in proposer.propose(state, range(DRAWS)) if each]
    scores = table.correct_WP[[place for place in places if place is not None]][:, halves(table)[1]].mean(1)
    test = round(float(scores.mean()), 4) if len(scores) else None
    return {"seed": 0, "valid": round(len(scores) / DRAWS, 4), "test": test}


def main(
    name: str,
    policy: Annotated[list[str], typer.Option(help="NAME=DIR of a checkpoint.")],
    replays: Annotated[int, typer.Option(help="Replays of each arm of A1.")] = REPLAYS,
    proposed: Annotated[int, typer.Option(help="Replays of each arm of A2.")] = PROPOSED,
) -> None:
    """Replay both questions on the table of a task; the rows that are missing go to recipe/evidence/results."""
    table, file = outcomes(name, name), RESULTS / f"table_policies_{name}.jsonl"
    config = prompt_settings(name)
    folders = dict(each.split("=", 1) for each in policy)
    players = {each: Policy(Path(folder), config, LONGEST) for each, folder in folders.items()}
    proposers: dict[str, Proposer] = {"random": RandomEdits(config.task.instructions), **players}
    done = (
        {(row["arm"], row["seed"]) for row in map(json.loads, file.read_text().splitlines())} if file.exists() else ()
    )
    found = searches(table, proposers)
    with file.open("a") as out:
        for each, proposer in proposers.items():
            if ((arm := f"{each} from the start"), 0) not in done:
                print(json.dumps({"arm": arm, **from_start(table, proposer)}), file=out)
        for seed in range(replays):
            if (KNOWN, seed) not in done:
                print(json.dumps({"arm": KNOWN, "seed": seed, **known(UnseenWorld(seed, table))}), file=out)
            for arm, search in found.items():
                if (arm, seed) not in done and (seed < proposed or isinstance(search.proposer, TableEdits)):
                    print(json.dumps({"arm": arm, **search.row(table, seed)}), file=out, flush=True)


if __name__ == "__main__":
    typer.run(main)
