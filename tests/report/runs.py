# SPDX-License-Identifier: Apache-2.0
"""Runs for report tests: plain data, and a store of any size written straight into the schema."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from aflow_env.report.runs import RoundRecord, RunRecord
from aflow_env.store.database import APPLICATION_ID, SCHEMA, VERSION

GRAPH = "class Workflow:\n    def __init__(self):\n        self.custom = operator.Custom(self.llm)\n"

FIGURES = {"score": 0.1, "ci95": [0.0, 0.2], "n": 20}


def round_(number: int, parent: int | None, score: float | None, **more: object) -> RoundRecord:
    facts: dict[str, object] = {
        **{"session": "arithmetic/0/0/0", "step": 0, "round": number, "parent": parent, "score": score},
        **{"digest": None if score is None else f"d{number}", "n": 8, "tokens": 10},
        **{"outcomes": {"correct": 1, "wrong": 7}, "cost_usd": 0.08, "usd_a_problem": 0.01, "calls": 8},
    }
    return RoundRecord(**(facts | more))  # type: ignore[arg-type]


def run(
    weight: float, seed: int, test: float | None = None, scores: tuple[float | None, ...] = (0.2, 0.5), **config: object
) -> RunRecord:
    """A search's run with a closing report where it has a test score; keys in `config` have __ for the dot."""
    rounds = tuple(round_(place + 1, place or None, score) for place, score in enumerate(scores))
    figures = {"score": test, "ci95": [0.0, 1.0], "n": 20}
    return RunRecord(
        name=f"w{weight}-s{seed}",
        path=Path("/nowhere"),
        config={"rl_weight": weight, "seed": seed, "task.name": "arithmetic", "executor.kind": "simulated"}
        | {key.replace("__", "."): value for key, value in config.items()},
        rounds=rounds,
        closing=None if test is None else {"best": figures, "test": figures},
        cost_usd=0.5,
    )


def trained(run: RunRecord) -> RunRecord:
    """The same run as a training's."""
    return replace(run, rounds=tuple(replace(each, step=1) for each in run.rounds))


def two_groups(differences: Sequence[float]) -> list[RunRecord]:
    """Runs with rl_weight 0 and 0.5, a pair for each difference of the test score."""
    pairs = enumerate(differences)
    return [each for seed, more in pairs for each in (run(0, seed, test=0.4), run(0.5, seed, test=0.4 + more))]


def note(folder: Path, kind: str, data: object) -> None:
    """Add an event to a store."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as database, database:
        database.execute("INSERT INTO events (time, kind, data) VALUES (0, ?, ?)", (kind, json.dumps(data)))


def large_store(folder: Path, nodes: int) -> Path:
    """A run of one session with this many rounds, every fiftieth of them rejected."""
    folder.mkdir(parents=True)
    database = sqlite3.connect(folder / "run.sqlite")
    for statement in SCHEMA:
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")
    session = "arithmetic/0/0/0"
    database.execute("INSERT INTO sessions VALUES (?, 'arithmetic', 0, 0, '0', 'arithmetic', 'null')", (session,))
    database.execute("INSERT INTO problem_sets VALUES ('p', '[[\"pd\", 0, \"p-1\"]]')")
    evaluated = [1]
    for number in range(1, nodes + 1):
        rejected = number > 1 and number % 50 == 0
        parent = None if number == 1 else evaluated[(number * 7919) % min(len(evaluated), 400)]
        row = {
            **{"session": session, "round": number, "parent": parent, "task": "arithmetic", "step": 0},
            **{"modification": f"change {number} & <b>more</b>", "edit": json.dumps({"operation": "add", "n": number})},
            "reason": "no such operator" if rejected else None,
        }
        if not rejected:
            score = 0.2 + 0.6 * number / nodes
            graph = f"{GRAPH}\n# version {number}\n"
            prompts = f"STEP_1_PROMPT = 'try {number}'\n"
            database.execute("INSERT INTO programs VALUES (?, ?, ?, ?)", (f"g{number}", f"d{number}", graph, prompts))
            row |= {"program": f"g{number}", "digest": f"d{number}", "executor_key": "e", "score": score, "n": 8}
            row |= {"low": score - 0.1, "high": score + 0.1, "outcomes": '{"correct": 5, "wrong": 3}', "cost_usd": 0.01}
            row |= {"input_tokens": 100, "output_tokens": 20, "calls": 8, "problem_set": "p"}
            row |= {"truncated": 3, "unpriced": 8}
            database.execute(
                "INSERT INTO evaluations VALUES (?, 'e', 'pd', 0, 'p-1', 'wrong', 0, '41', 0.1, 0, 1, 1, 1, '', 0, 0, "
                "'expected <42>, got 41', '1. Custom: 41')",
                (f"d{number}",),
            )
            if number > 1:
                evaluated.append(number)
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        database.execute(f"INSERT INTO nodes ({columns}) VALUES ({marks})", tuple(row.values()))
    database.commit()
    database.close()
    return folder


def closed(folder: Path, nodes: int) -> Path:
    """A store of 20 nodes whose closing report speaks of so many."""
    large_store(folder, 20)
    note(folder, "report", {"digest": "d20", "nodes": nodes, "start": FIGURES, "best": FIGURES, "test": FIGURES})
    return folder / "run.sqlite"
