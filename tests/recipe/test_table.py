# SPDX-License-Identifier: Apache-2.0
"""The script that makes a table: its workflows, going on after a stop, and a search on what it wrote."""

import json
from pathlib import Path

from aflow_env.cli.compose import assigned, load
from aflow_env.config import AflowConfig
from aflow_env.tasks.baselines import start_steps
from aflow_env.tasks.benchmarks.short_answers import GSM8K
from aflow_env.tasks.table import read_table
from aflow_env.workflow.edits import every_edit
from recipe.table import make as script
from tests.llm.server import serve

PHRASES = ("Think step by step.", "Be brief.")


def test_the_workflows_are_the_start_all_of_one_edit_and_samples_that_grow() -> None:
    """A larger table has the rows of a smaller one, in their order, so a run can be gone on with."""
    one = script.workflows(GSM8K, PHRASES, [], 0)
    edits = list(every_edit(start_steps(GSM8K), GSM8K, PHRASES))
    assert next(iter(one.values())) == start_steps(GSM8K)
    assert len(edits) >= len(one) - 1 > 10
    more = script.workflows(GSM8K, PHRASES, [5, 3], 0)
    assert list(more)[: len(one)] == list(one)
    assert len(more) == len(one) + 8
    assert more == script.workflows(GSM8K, PHRASES, [5, 3], 0)


def problem_files(folder: Path) -> None:
    """Three validate problems of GSM8K's form, and three to test on."""
    lines = [json.dumps({"question": f"What is {n} + {n}?", "answer": f"#### {2 * n}"}) for n in range(6)]
    for split in ("validate", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines[:3] if split == "validate" else lines[3:]))


def config(folder: Path, address: str) -> AflowConfig:
    problem_files(folder)
    return load(
        [
            *("task=gsm8k", assigned("task.path", folder), "task.validate_size=3", "task.test_size=3"),
            *("executor=vllm", f"executor.base_url={address}/v1", "executor.model=m", "sandbox.workers=2"),
            *('task.instructions=["Be brief."]', assigned("run_dir", folder / "run"), "proposer=random", "rl_weight=0"),
        ]
    )


async def test_a_table_is_made_once(tmp_path: Path) -> None:
    """A second run and `pack` ask nobody, and write the same table of the problems that every workflow has finished."""
    out = tmp_path / "gsm8k.jsonl"
    async with serve() as (address, books):
        settings = config(tmp_path, address)
        await script.make(settings, [], 4, 2, out, "a note", False)
        asked, text = len(books.requests), out.read_text()
        await script.make(settings, [], 4, 2, out, "a note", False)
        assert len(books.requests) == asked > 0
    await script.make(settings, [], 6, 2, out, "a note", True)
    assert out.read_text() == text
    assert read_table(str(out), GSM8K).header.made["note"] == "a note"
    header = json.loads(text.splitlines()[0])
    assert len(header["problems"]) == len(header["made"]["digests"]) == 4
