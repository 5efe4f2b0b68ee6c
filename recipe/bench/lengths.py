# SPDX-License-Identifier: Apache-2.0
"""Measure the length of training rows: `python -m recipe.bench.lengths --tokenizer DIR [aflow overrides]`.

Plays searches of the embedded task (SIMULATED executor, uniform edits, no Q) with the defaults of a GPU
run and counts the tokens that a policy with this tokenizer would train on: per round an edit row (prompt and edit) and
a value row (prompt and one digit). Problems and failed cases are those of generated word problems; tasks with longer
problems have longer rows, up to `state_characters`. The micro-batch limits of conf/hardware come from this table.
"""

import argparse
import asyncio
import tempfile

import numpy as np
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.search.assemble import Assembly
from aflow_env.search.prediction.predict import Candidate, value_messages
from aflow_env.search.proposals.proposal import Messages, action_messages
from aflow_env.search.session import SearchProblem, SearchSession, session_seed
from aflow_env.store.store import SessionKey

KINDS = ("edit prompt", "edit", "edit row", "value row")


async def sessions(config: AflowConfig, count: int) -> list[SearchSession]:
    """`count` searches of different seeds in one store."""
    assembly = await Assembly.open(config)
    try:
        search = assembly.search(None, None, "validate")
        return [
            await search.play(
                SearchProblem(SessionKey(assembly.task.spec.name, seed), session_seed(seed), assembly.start())
            )
            for seed in range(count)
        ]
    finally:
        await assembly.aclose()


def rows(
    session: SearchSession, config: AflowConfig, tokenizer: PreTrainedTokenizerBase
) -> list[tuple[int, int, int, int]]:
    """For each round the four lengths of `KINDS`, in tokens."""

    def prompt(messages: Messages) -> int:
        said = [{"role": message.role, "content": message.content} for message in messages]
        text = tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        return len(tokenizer.encode(text, add_special_tokens=False))

    found = []
    for turn in session.turns:
        asked = prompt(action_messages(turn.state, config))
        edit = len(tokenizer.encode(turn.reply.text, add_special_tokens=False)) + 1  # and the end of the turn
        after = Candidate(turn.reply.text, turn.node.workflow) if turn.node else None
        value = prompt(value_messages(turn.state, after, config)) + 1 if after else 0
        found.append((asked, edit, asked + edit, value))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, help="folder of a policy")
    parser.add_argument("--searches", type=int, default=8)
    parser.add_argument("overrides", nargs="*", help="key=value of the aflow: node")
    chosen = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(chosen.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        config = load(["rounds=20", "limit=8", *chosen.overrides, f"run_dir={folder}"], defaults=UNGUIDED)
        played = asyncio.run(sessions(config, chosen.searches))
    lengths = np.array([row for session in played for row in rows(session, config, tokenizer)])
    table = Table(title=f"tokens, {len(lengths)} rounds of {len(played)} searches, SIMULATED executor")
    for name in ("", "median", "p95", "longest"):
        table.add_column(name)
    for name, column in zip(KINDS, lengths.T, strict=True):
        table.add_row(
            name, *(f"{value:,.0f}" for value in (np.median(column), np.quantile(column, 0.95), column.max()))
        )
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
