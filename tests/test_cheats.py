# SPDX-License-Identifier: Apache-2.0
"""No known cheat pays on any task; the whole battery is `python -m tests.cheats`."""

from pathlib import Path

import pytest

from aflow_env.sandbox.pool import Sandbox
from aflow_env.tasks import TASKS, load_task
from aflow_env.tasks.own import SCORERS
from tests.cheats.__main__ import table
from tests.cheats.arena import REAL, column, columns, tasks
from tests.tasks.support import config


async def test_no_cheat_pays_on_a_sample(tmp_path: Path, shared: Path) -> None:
    """A few problems of each task, real data among them: every cheat is worth at most the best constant output."""
    found = await columns(tmp_path, shared / "data", 8)
    assert len(found) == 17
    paying = [(c.task, cheat, score, c.honest) for c in found for cheat, score in c.scores.items() if c.pays(cheat)]
    assert not paying, table(found)


def test_every_task_and_scorer_is_attacked(tmp_path: Path) -> None:
    """A new benchmark or scorer cannot be forgotten; without real data only the tasks that have it are left out."""
    names = [name for name, _ in tasks(tmp_path, Path("data"))]
    assert set(TASKS) <= set(names)
    assert {f"own {scorer}" for scorer in SCORERS} <= set(names)
    assert set(names) - {name for name, _ in tasks(tmp_path, None)} == set(REAL)


async def test_the_battery_finds_a_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scorer that takes any part of the output for the answer is found out, and the table marks it."""
    (tmp_path / "leaky_scorer.py").write_text("def judge(gold, output):\n    return gold in output.split('|')\n")
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(100, 130)))
    (tmp_path / "leaky.yaml").write_text(
        'name: leaky\npath: rows.jsonl\nprompt: "Guess {n}"\nanswer: "{n}"\nscorer: leaky_scorer:judge\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with Sandbox() as sandbox:
        found = await column("leaky", load_task(config(str(tmp_path / "leaky.yaml"))), sandbox, 20)
    assert found.scores["numbers |"] == 1.0
    assert found.pays("numbers |")
    assert "1.000*" in table([found])
