# SPDX-License-Identifier: Apache-2.0
"""Lessons of the tiny policy's warm start: states of a search and their valid edits, all drawn *uniformly*.

The target for "reply with one edit" is every valid edit with its probability under `uniform_edit`, and for the value
question every digit alike. So lessons say nothing about good edits, and any later gain was learnt by reinforcement.
Targets are exact, not sampled: a rule of the grammar often forbids a percent of the mass, which sampling noise would
hide.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from transformers import PreTrainedTokenizerBase

from aflow_env.config import AflowConfig
from aflow_env.search.prediction.predict import Candidate, value_messages
from aflow_env.search.proposals.proposal import Messages, State, action_messages
from aflow_env.store.experience import Entry
from aflow_env.workflow.edits import Edit, InvalidEdit, apply_edit, describe, every_edit, format_edit, uniform_edit
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import (
    MAX_STEPS,
    SAMPLES,
    Step,
    StepError,
    check_steps,
    takes_instruction,
    takes_samples,
    to_workflow,
)

ANSWERS = 8
VALUE_SHARE = 0.1
DIGIT_ODDS = dict.fromkeys("0123456789", 0.1)
# The choices of `uniform_edit`, in its order; each is uniform among the values that still lead to a valid edit.
_CHOICES: tuple[Callable[[Edit], object], ...] = (
    lambda edit: edit.operation,
    lambda edit: edit.operator,
    lambda edit: edit.position,
    lambda edit: edit.parameters.to,
    lambda edit: edit.parameters.instruction,
    lambda edit: edit.parameters.samples,
)
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class DrawnState(State):
    """A state whose normal form is known, so that no program has to be written and read back."""

    drawn: tuple[Step, ...] = field(default=())

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.drawn


@dataclass(frozen=True)
class Lesson:
    """A prompt after the common prefix, and some answers to it (each with its end token), as token ids.

    `following` has, for every beginning of these answers, the probability of each next token.
    """

    prompt: list[int]
    answers: list[Tokens]
    following: dict[Tokens, dict[int, float]]

    @property
    def size(self) -> int:
        """The tokens that a model reads."""
        return len(self.prompt) + sum(len(answer) - 1 for answer in self.answers)


@dataclass(frozen=True)
class Teacher:
    """Draw lessons for one task and config; the same generator gives the same lessons."""

    config: AflowConfig
    task: TaskSpec
    tokenizer: PreTrainedTokenizerBase
    _known: dict[str, Tokens] = field(default_factory=dict)

    def tokens(self, messages: Messages) -> list[int]:
        """Return the prompt's token ids, up to where the answer begins."""
        chat = [message.model_dump() for message in messages]
        encoded = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(encoded["input_ids"])

    def answer(self, text: str) -> Tokens:
        """Return the answer's token ids, the end token last."""
        if text not in self._known:
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            self._known[text] = (*ids, self.tokenizer.eos_token_id)
        return self._known[text]

    def prefix(self) -> list[int]:
        """Return the tokens with which every prompt of the task begins: the system text."""
        states = (draw_state(Random(number), self.task, self.config) for number in range(8))
        prompts = [self.tokens(action_messages(state, self.config)) for state in states]
        length = next(place for place, column in enumerate(zip(*prompts, strict=False)) if len(set(column)) > 1)
        return prompts[0][:length]

    def lesson(self, random: Random, prefix: int) -> Lesson:
        """Draw a state and one of the two questions about it, after a prefix of so many tokens."""
        state = draw_state(random, self.task, self.config)
        if random.random() < VALUE_SHARE:
            messages, odds = value_messages(state, draw_edit(random, state, self.config), self.config), DIGIT_ODDS
        else:
            messages = action_messages(state, self.config)
            odds = edit_odds(state.steps, self.task, self.config.task.instructions)
        answers = {self.answer(text): share for text, share in odds.items()}
        some = random.choices(list(answers), list(answers.values()), k=ANSWERS)
        return Lesson(self.tokens(messages)[prefix:], some, next_tokens(answers, some))


def draw_state(random: Random, task: TaskSpec, config: AflowConfig) -> DrawnState:
    """Draw a state of a search of this task: random steps, score and experience."""
    steps = draw_steps(random, task, config.task.instructions)
    count = random.choice((6, 8, 12, 16, 24))
    score = random.randint(0, count) / count
    entries = tuple(draw_entry(random, steps, score, task, config) for _ in range(random.randint(0, 4)))
    return DrawnState(Workflow("", ""), task, score, count, entries[: config.experience_entries], (), steps)


def draw_edit(random: Random, state: DrawnState, config: AflowConfig) -> Candidate:
    """Draw an edit for the value question, uniformly."""
    edit = uniform_edit(state.drawn, state.task, config.task.instructions, random)
    return Candidate(format_edit(edit), to_workflow(apply_edit(state.drawn, edit, state.task), state.task))


def draw_steps(random: Random, task: TaskSpec, instructions: Sequence[str]) -> tuple[Step, ...]:
    """Draw a valid list of steps; short ones are likelier, as in a search."""
    count = min(random.randint(1, MAX_STEPS), random.randint(1, MAX_STEPS))
    steps: tuple[Step, ...] = ()
    while len(steps) < count:
        operator = random.choice(task.operators)
        instruction = random.choice(instructions) if takes_instruction(operator) and random.random() < 0.9 else ""
        longer = (*steps, Step(operator, instruction, random.choice(SAMPLES) if takes_samples(operator) else 0))
        try:
            check_steps(longer, task)
        except StepError:
            continue
        steps = longer
    return steps


def draw_entry(random: Random, steps: tuple[Step, ...], score: float, task: TaskSpec, config: AflowConfig) -> Entry:
    """Draw an earlier edit: mostly one of these steps, sometimes one that does not fit them."""
    other = draw_steps(random, task, config.task.instructions) if random.random() < 0.2 else steps
    edit = uniform_edit(other, task, config.task.instructions, random)
    try:
        apply_edit(steps, edit, task)
    except InvalidEdit as error:
        return Entry(format_edit(edit), score, None, str(error))
    return Entry(describe(edit), score, random.randint(0, 24) / 24)


@cache
def edit_odds(steps: tuple[Step, ...], task: TaskSpec, instructions: tuple[str, ...]) -> dict[str, float]:
    """Return the canonical text of every valid edit of these steps -> its probability under `uniform_edit`."""
    every = list(every_edit(steps, task, instructions))
    return {format_edit(edit): share for edit, share in _split(every, _CHOICES, 1.0)}


def operation_odds(odds: dict[str, float]) -> dict[str, float]:
    """Return the shares of the operations."""
    shares: dict[str, float] = {}
    for text, share in odds.items():
        operation = json.loads(text)["operation"]
        shares[operation] = shares.get(operation, 0.0) + share
    return shares


def next_tokens(odds: dict[Tokens, float], some: Sequence[Tokens]) -> dict[Tokens, dict[int, float]]:
    """Return each next token's probability, for every beginning of `some` answers, when answers follow `odds`."""
    following: dict[Tokens, dict[int, float]] = {answer[:at]: {} for answer in some for at in range(len(answer))}
    for answer, share in odds.items():
        for at, token in enumerate(answer):
            if (row := following.get(answer[:at])) is not None:
                row[token] = row.get(token, 0.0) + share
    totals = {beginning: sum(row.values()) for beginning, row in following.items()}
    return {start: {token: share / totals[start] for token, share in row.items()} for start, row in following.items()}


def _split(
    edits: list[Edit], choices: tuple[Callable[[Edit], object], ...], share: float
) -> Iterator[tuple[Edit, float]]:
    """Divide the share evenly at every choice that the edits differ in."""
    if not choices:
        yield edits[0], share
        return
    groups: dict[object, list[Edit]] = {}
    for edit in edits:
        groups.setdefault(choices[0](edit), []).append(edit)
    for group in groups.values():
        yield from _split(group, choices[1:], share / len(groups))
