# SPDX-License-Identifier: Apache-2.0
"""How should value rows be replayed? The tiny policy, taught offline what a `make train` run has stored. SIMULATED.

    python -m recipe.evidence.replay RUN_DIR [RULE ...] >> recipe/evidence/results/replay.jsonl

RUN_DIR is the run's `search` folder. The run's training steps are gone through once; each ends with optimiser steps on
mini-batches of value rows, drawn by a rule. There is no edits' update between, so the figures are those of Q's own
training alone. They are judged on edits that nothing was trained on: uniformly random ones of 12 other searches, and
those of the run's validation sessions. Beside it the surrogate on the same evaluations.

Rules: `rows` draws evenly over the rows of 16 steps, `all` over those of all steps, `pairs` evenly over distinct pairs,
`pooled` likewise with digits drawn anew from the pair's pooled score; a number behind it is the optimiser steps of a
training step, one behind @ the learning rate.
"""

import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.prediction.q import calibration, expected_value, realised_digit, within_parents
from aflow_env.search.prediction.surrogate import Observation, fit, tokens
from aflow_env.search.prediction.value_question import value_messages
from aflow_env.search.proposals.proposal import State
from aflow_env.training.tiny_policy.build import cached_policy, embedded_config
from aflow_env.workflow.edits import apply_edit, every_edit, format_edit
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import to_workflow
from recipe.evidence.edits.search import Rule, Search
from recipe.evidence.edits.world import VALIDATE, Steps, World

OTHERS = range(20000, 20012)
SIZE, REPLAY, RATE, STEPS = 32, 3, 5e-4, 16
RULES = ("rows", "all", "pairs", "pooled")
_SQL = """
SELECT child.step, child.session LIKE 'validate/%', old.graph, old.prompts, parent.digest, parent.score, parent.n,
       child.edit, new.graph, new.prompts, child.digest, child.score, child.n
FROM nodes AS child
JOIN nodes AS parent ON parent.session = child.session AND parent.round = child.parent
JOIN programs AS old ON old.id = parent.program
JOIN programs AS new ON new.id = child.program
WHERE child.score IS NOT NULL ORDER BY child.step, child.session, child.round
"""


@dataclass(frozen=True)
class Row:
    """An evaluated edit: the question about it, and what came."""

    step: int
    pair: tuple[str, str]
    prompt: tuple[int, ...]
    child: Workflow
    score: float
    n: int


class Asker:
    """Writes value questions as the training does."""

    def __init__(self) -> None:
        self.config = embedded_config()
        self.folder = cached_policy()
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.digits = [self.tokenizer.encode(digit, add_special_tokens=False)[0] for digit in "0123456789"]

    def prompt(self, state: State, edit: Candidate) -> tuple[int, ...]:
        """The question's token ids."""
        chat = [message.model_dump() for message in value_messages(state, edit, self.config)]
        encoded = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
        return tuple(encoded["input_ids"])


def stored(run: Path, asker: Asker, spec: TaskSpec) -> tuple[list[Row], list[Row]]:
    """The run's evaluated edits of training sessions, and each pair of its validation sessions once."""
    training, validation = [], {}
    with closing(sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True)) as file:
        for step, held_out, graph, prompts, parent, before, n, text, new, new_prompts, child, score, m in file.execute(
            _SQL
        ):
            made = Workflow(new, new_prompts)
            prompt = asker.prompt(State(Workflow(graph, prompts), spec, before, n), Candidate(text, made))
            row = Row(step, (parent, child), prompt, made, score, m)
            if held_out:
                validation.setdefault(row.pair, row)
            else:
                training.append(row)
    return training, list(validation.values())


def random_edits(asker: Asker) -> list[Row]:
    """The evaluated edits of stock random searches in other worlds."""
    rows = []
    for seed in OTHERS:
        world = World.of(seed)
        spec = world.task.spec
        nodes = Search(world, Rule()).play(20, 0)
        for node in nodes[1:]:
            parent, child = nodes[node.parent], to_workflow(node.steps, spec)
            before = to_workflow(parent.steps, spec)
            text = _edit(parent.steps, node.steps, spec, asker.config.task.instructions)
            prompt = asker.prompt(State(before, spec, parent.score, VALIDATE), Candidate(text, child))
            rows.append(Row(0, (f"{seed} {before.digest}", child.digest), prompt, child, node.score, VALIDATE))
    return rows


def _edit(before: Steps, after: Steps, spec: TaskSpec, instructions: Sequence[str]) -> str:
    return next(
        format_edit(edit) for edit in every_edit(before, spec, instructions) if apply_edit(before, edit, spec) == after
    )


def log_probs(model: Any, asker: Asker, rows: Sequence[Row]) -> torch.Tensor:
    """(rows, 10) log-probabilities of the digits."""
    longest = max(len(row.prompt) for row in rows)
    ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row.prompt)], mask[place, : len(row.prompt)] = torch.tensor(row.prompt), 1
    hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state
    last = hidden[torch.arange(len(rows)), mask.sum(1) - 1]
    found: torch.Tensor = torch.log_softmax(model.lm_head(last), -1)[:, asker.digits]
    return found


@torch.no_grad()
def predict(model: Any, asker: Asker, rows: Sequence[Row]) -> list[float]:
    """Q of each row."""
    parts = [log_probs(model, asker, rows[at : at + 64]).double().numpy() for at in range(0, len(rows), 64)]
    return list(expected_value(np.concatenate(parts)))


def show(rule: str, step: int, held_out: Mapping[str, Sequence[Row]], said: Mapping[str, Sequence[float]]) -> None:
    """Print Spearman within parents and skill for each set of edits, one JSON line a set."""
    for name, rows in held_out.items():
        scores, parents = [row.score for row in rows], [row.pair[0] for row in rows]
        within, skill = within_parents(said[name], scores, parents), calibration(said[name], scores).skill
        figures = {"within": round(within, 2), "skill": round(skill, 2), "n": len(rows)}
        print(json.dumps({"rule": rule, "step": step, "edits": name, **figures}), flush=True)


def evenly(groups: Iterable[Sequence[Row]], random: Random) -> list[Row]:
    """All rows in a random order in which each group comes once before any comes twice, and so on."""
    turns = zip_longest(*(random.sample(group, len(group)) for group in groups))
    present = ([row for row in turn if row is not None] for turn in turns)
    return list(chain.from_iterable(random.sample(turn, len(turn)) for turn in present))


def draw(rule: str, seen: Sequence[Row], step: int, count: int, random: Random) -> list[tuple[Row, int]]:
    """Rows with their digits, by a rule."""
    if rule in ("rows", "all"):
        pool = [row for row in seen if rule == "all" or row.step > step - STEPS]
        drawn = random.sample(pool, min(count, len(pool)))
    else:
        groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in seen:
            groups[row.pair].append(row)
        drawn = evenly(groups.values(), random)[:count]
    if rule != "pooled":  # a row keeps its digit
        return [(row, realised_digit(row.score, Random(f"{row.prompt} {row.score}").random())) for row in drawn]
    means = {pair: sum(r.score * r.n for r in rows) / sum(r.n for r in rows) for pair, rows in groups.items()}
    return [(row, realised_digit(means[row.pair], random.random())) for row in drawn]


def teach(rule: str, asker: Asker, training: Sequence[Row], held_out: dict[str, list[Row]]) -> None:
    """Teach by a rule and print how it is judged on the way."""
    name, _, rate = rule.partition("@")
    kind = name.rstrip("0123456789")
    replay = int(name.removeprefix(kind) or REPLAY)
    model = AutoModelForCausalLM.from_pretrained(asker.folder, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=float(rate or RATE), weight_decay=0.01)
    random, last = Random(0), max(row.step for row in training)
    for step in range(1, last + 1):
        seen = [row for row in training if row.step <= step]
        drawn = draw(kind, seen, step, SIZE * replay, random)
        for at in range(0, len(drawn) - SIZE + 1, SIZE):
            part = drawn[at : at + SIZE]
            answers = torch.tensor([digit for _, digit in part])
            loss = -log_probs(model, asker, [row for row, _ in part])[torch.arange(len(part)), answers].mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        if step in (last // 2, last):
            show(rule, step, held_out, {name: predict(model, asker, rows) for name, rows in held_out.items()})


def main() -> None:
    """Judge the surrogate and each rule."""
    torch.set_num_threads(1)
    run, rules = Path(sys.argv[1]), sys.argv[2:] or RULES
    asker, spec = Asker(), World.of(OTHERS[0]).task.spec
    training, validation = stored(run, asker, spec)
    held_out = {"random edits": random_edits(asker), "validation": validation}
    pairs = {row.pair for row in training}
    print(f"SIMULATED executor; {len(training)} rows of {len(pairs)} pairs", file=sys.stderr)
    ridge = fit([Observation(tokens(row.child), row.score, row.n) for row in training])
    if ridge:
        said = {name: ridge.values([tokens(row.child) for row in rows]) for name, rows in held_out.items()}
        show("surrogate", max(row.step for row in training), held_out, said)
    for rule in rules:
        teach(rule, asker, training, held_out)


if __name__ == "__main__":
    main()
