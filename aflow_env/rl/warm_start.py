# SPDX-License-Identifier: Apache-2.0
"""The warm start of the tiny policy: it learns to write valid edits, and nothing about which edits help.

Supervised on (state, edit) pairs: states drawn at random from what a search could show, edits drawn *uniformly* from
the grammar (`uniform_edit`), value questions answered with uniformly random digits. Whatever the reward gains later
was learnt by reinforcement.

One state is read once for several edits of it, and the system text, the same for all, once a batch: they are one
prefix, one state and parallel continuations under one attention mask. Besides the edits, the state's own text is
predicted, at half the
weight: a model that can read its input learns the rules of the grammar sooner.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from aflow_env.config import AflowConfig
from aflow_env.search.experience import Entry
from aflow_env.search.proposal import Messages, State, action_messages, value_messages
from aflow_env.workflow.edits import InvalidEdit, apply_edit, describe, format_edit, parse_edit, uniform_edit
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import MAX_STEPS, SAMPLES, Step, StepError, check_steps, takes_instruction, takes_samples

STATES = 16
EDITS = 8
READING_WEIGHT = 0.5
VALUE_SHARE = 0.1
EMBEDDING_RATE = 4e-3
VECTOR_RATE = 2e-2
MUON_RATE = 0.012
RISE = 20


@dataclass(frozen=True)
class DrawnState(State):
    """A state whose normal form is known, so that no program has to be written and read back."""

    drawn: tuple[Step, ...] = field(default=())

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.drawn


@dataclass(frozen=True)
class Lesson:
    """A prompt behind the common prefix, and the answers to it, as token ids; each answer ends with the end token."""

    prompt: list[int]
    answers: list[list[int]]


@dataclass(frozen=True)
class Teacher:
    """Draws lessons for one task and config; the same generator, the same lessons."""

    config: AflowConfig
    task: TaskSpec
    tokenizer: PreTrainedTokenizerBase

    def tokens(self, messages: Messages) -> list[int]:
        """The prompt's token ids, up to where the answer begins."""
        chat = [message.model_dump() for message in messages]
        encoded = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(encoded["input_ids"])

    def prefix(self) -> list[int]:
        """The tokens with which every prompt of the task begins: the system text."""
        states = (draw_state(Random(number), self.task, self.config) for number in range(8))
        prompts = [self.tokens(action_messages(state, self.config)) for state in states]
        length = next(place for place, column in enumerate(zip(*prompts, strict=False)) if len(set(column)) > 1)
        return prompts[0][:length]

    def lesson(self, random: Random, prefix: int) -> Lesson:
        """One state with `EDITS` edits of it, or one value question with every digit."""
        state = draw_state(random, self.task, self.config)
        end = self.tokenizer.eos_token_id
        if random.random() < VALUE_SHARE:
            prompt, texts = value_messages(state, self.config), list("0123456789")
        else:
            prompt = action_messages(state, self.config)
            edits = (uniform_edit(state.steps, self.task, self.config.instructions, random) for _ in range(EDITS))
            texts = [format_edit(edit) for edit in edits]
        answers = [[*self.tokenizer.encode(text, add_special_tokens=False), end] for text in texts]
        return Lesson(self.tokens(prompt)[prefix:], answers)


def draw_state(random: Random, task: TaskSpec, config: AflowConfig) -> DrawnState:
    """A state that a search of this task could show: random steps, score and experience."""
    steps = draw_steps(random, task, config.instructions)
    count = random.choice((6, 8, 12, 16, 24))
    score = random.randint(0, count) / count
    entries = tuple(draw_entry(random, steps, score, task, config) for _ in range(random.randint(0, 4)))
    return DrawnState(Workflow("", ""), task, score, count, entries[: config.experience_entries], (), steps)


def draw_steps(random: Random, task: TaskSpec, instructions: Sequence[str]) -> tuple[Step, ...]:
    """A valid list of steps; short ones are likelier, as in a search."""
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
    """What was tried before: mostly an edit of these steps, sometimes one that does not fit them."""
    other = draw_steps(random, task, config.instructions) if random.random() < 0.2 else steps
    edit = uniform_edit(other, task, config.instructions, random)
    try:
        apply_edit(steps, edit, task)
    except InvalidEdit as error:
        return Entry(format_edit(edit), score, None, str(error))
    return Entry(describe(edit), score, random.randint(0, 24) / 24)


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on two threads, much slower where other work goes on, and not repeatable."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(model: Qwen2ForCausalLM, teacher: Teacher, steps: int, seed: int) -> list[float]:
    """Train in place; the loss of the answers at each step, in nats a token. Deterministic on one thread."""
    random = Random(seed)
    prefix = teacher.prefix()
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    embeddings = [p for name, p in model.named_parameters() if "embed" in name]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(embeddings, lr=EMBEDDING_RATE, betas=(0.9, 0.98), weight_decay=0.01),
        torch.optim.AdamW(vectors, lr=VECTOR_RATE, betas=(0.9, 0.98), weight_decay=0.01),
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.0, momentum=0.9, adjust_lr_fn="original"),
    ]
    rate = lambda step: min((step + 1) / RISE, 0.01 + 0.5 * (1 + math.cos(math.pi * step / steps)))  # noqa: E731
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, rate) for optimiser in optimisers]
    losses = []
    model.train()
    for _ in range(steps):
        lessons = [teacher.lesson(random, len(prefix)) for _ in range(STATES)]
        answering, reading = loss(model, prefix, lessons)
        for optimiser in optimisers:
            optimiser.zero_grad()
        torch.autograd.backward(answering + READING_WEIGHT * reading)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        losses.append(answering.item())
    return losses


def loss(model: Qwen2ForCausalLM, prefix: list[int], lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the answers' tokens, and of the prompts' own."""
    length = max(len(each.prompt) + sum(len(answer) - 1 for answer in each.answers) for each in lessons)
    ids_BL = torch.zeros(len(lessons), length, dtype=torch.long)
    position_BL = torch.zeros_like(ids_BL)
    branch_BL = torch.full_like(ids_BL, -1)  # 0: the prompt; k: the k-th answer; -1: nothing
    asked, wanted = [], []
    for row, lesson in enumerate(lessons):
        size = len(lesson.prompt)
        ids_BL[row, :size], branch_BL[row, :size] = torch.tensor(lesson.prompt), 0
        position_BL[row, :size] = torch.arange(size)
        at = size
        for number, answer in enumerate(lesson.answers, start=1):
            span = slice(at, at + len(answer) - 1)
            ids_BL[row, span], branch_BL[row, span] = torch.tensor(answer[:-1], dtype=torch.long), number
            position_BL[row, span] = torch.arange(size, size + len(answer) - 1)
            asked += [row * length + size - 1, *range(row * length + span.start, row * length + span.stop)]
            wanted += answer
            at = span.stop
    hidden_BLH = _hidden(model, prefix, ids_BL, position_BL, branch_BL)
    answering = functional.cross_entropy(model.lm_head(hidden_BLH.flatten(0, 1)[asked]), torch.tensor(wanted))
    read_BL = branch_BL[:, 1:] == 0
    reading = functional.cross_entropy(model.lm_head(hidden_BLH[:, :-1][read_BL]), ids_BL[:, 1:][read_BL])
    return answering, reading


def _hidden(
    model: Qwen2ForCausalLM, prefix: list[int], ids_BL: Tensor, position_BL: Tensor, branch_BL: Tensor
) -> Tensor:
    """Last hidden states; a token sees the prefix, its prompt, and what comes before it in its own answer."""
    count, length = ids_BL.shape
    seen_BLL = (branch_BL[:, None, :] == branch_BL[:, :, None]) | (branch_BL[:, None, :] == 0)
    seen_BLL &= torch.tril(torch.ones(length, length, dtype=torch.bool))
    seen_BLL |= torch.eye(length, dtype=torch.bool)
    everything = torch.ones(count, length, len(prefix), dtype=torch.bool)
    cache = model.model(input_ids=torch.tensor([prefix]), use_cache=True).past_key_values
    cache.batch_repeat_interleave(count)
    hidden_BLH: Tensor = model.model(
        input_ids=ids_BL,
        position_ids=position_BL + len(prefix),
        attention_mask=torch.cat([everything, seen_BLL], dim=-1)[:, None],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden_BLH


@torch.no_grad()
def valid_share(model: Qwen2ForCausalLM, teacher: Teacher, count: int, seed: int) -> float:
    """Share of edits, sampled at temperature 1 for states not seen before, that parse and fit their workflow."""
    random = Random(seed)
    tokenizer, task = teacher.tokenizer, teacher.task
    tokenizer.padding_side = "left"
    model.eval()
    torch.manual_seed(seed)
    valid = 0
    states = [draw_state(random, task, teacher.config) for _ in range(count)]
    for first in range(0, count, 64):
        some = states[first : first + 64]
        prompts = [teacher.tokens(action_messages(state, teacher.config)) for state in some]
        batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        out = model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=48)
        texts = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        for state, text in zip(some, texts, strict=True):
            valid += _fits(state, text, task)
    return valid / count


def _fits(state: DrawnState, text: str, task: TaskSpec) -> bool:
    try:
        apply_edit(state.steps, parse_edit(text), task)
    except InvalidEdit:
        return False
    return True
