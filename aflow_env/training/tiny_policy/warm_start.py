# SPDX-License-Identifier: Apache-2.0
"""The warm start of the tiny policy, which learns to write any valid edit, uniformly (lessons.py).

A state is read once for several answers to it, and the system text once a batch: one prefix, one state and parallel
continuations under one attention mask. The loss is the distance from the uniform distribution, so that the policy
explores, plus STRAY_WEIGHT times the -log of the valid mass, so that its edits are valid.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from aflow_env.search.proposals.proposal import action_messages
from aflow_env.training.tiny_policy.lessons import Lesson, Teacher, draw_state, edit_odds, operation_odds
from aflow_env.workflow.edits import InvalidEdit, apply_edit, parse_edit
from aflow_env.workflow.gate import check
from aflow_env.workflow.steps import to_workflow

LESSONS = 2400
BATCH = 16
WINDOW = 8
"""Batches whose lessons are sorted by length together: a third less padding, and still mixed."""
STRAY_WEIGHT = 8.0
EMBEDDING_RATE = 4e-3
VECTOR_RATE = 2e-2
MUON_RATE = 0.012
RISE = 20


@dataclass(frozen=True)
class Skill:
    """The policy's edits at temperature 1.

    `valid`: share of edits that parse, fit and pass the gate. `operation_tv`: total variation distance, in [0, 1], of
    the valid ones' operations from uniform drawing on the same states (sampling noise included).
    """

    valid: float
    operation_tv: float


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: two are slower beside other work, and not repeatable."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(model: Qwen2ForCausalLM, teacher: Teacher, steps: int, seed: int) -> list[float]:
    """Train in place; return the distance from uniform at each step, in nats a token. Deterministic on one thread."""
    random = Random(seed)
    prefix = teacher.prefix()
    lessons = [teacher.lesson(random, len(prefix)) for _ in range(min(LESSONS, steps * BATCH))]
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    embeddings = [p for name, p in model.named_parameters() if "embed" in name]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(embeddings, lr=EMBEDDING_RATE, betas=(0.9, 0.98), weight_decay=0.01),
        torch.optim.AdamW(vectors, lr=VECTOR_RATE, betas=(0.9, 0.98), weight_decay=0.01),
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.0, momentum=0.8, adjust_lr_fn="original"),
    ]
    rate = lambda step: min((step + 1) / RISE, 0.01 + 0.5 * (1 + math.cos(math.pi * step / steps)))  # noqa: E731
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, rate) for optimiser in optimisers]
    distances: list[float] = []
    model.train()
    for batch, _ in zip(batches(lessons, random), range(steps), strict=False):
        distance, stray = loss(model, prefix, batch)
        for optimiser in optimisers:
            optimiser.zero_grad()
        torch.autograd.backward(distance + STRAY_WEIGHT * stray)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        distances.append(distance.item())
        if len(distances) % 100 == 0:
            print(f"warm start: step {len(distances)} of {steps}, {distances[-1]:.3f} nats a token", file=sys.stderr)
    return distances


def batches(lessons: Sequence[Lesson], random: Random) -> Iterator[list[Lesson]]:
    """Yield batches of lessons about equally long, without end; every lesson once an epoch."""
    while True:
        mixed = random.sample(lessons, len(lessons))
        chunks = [mixed[at : at + WINDOW * BATCH] for at in range(0, len(mixed), WINDOW * BATCH)]
        windows = [sorted(chunk, key=lambda lesson: lesson.size) for chunk in chunks]
        epoch = [window[at : at + BATCH] for window in windows for at in range(0, len(window), BATCH)]
        yield from random.sample(epoch, len(epoch))


def loss(model: Qwen2ForCausalLM, prefix: list[int], lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """Return the divergence from the targets and -log of the valid mass: means over the answers' tokens, in nats."""
    length = max(lesson.size for lesson in lessons)
    ids_BL = torch.zeros(len(lessons), length, dtype=torch.long)
    position_BL = torch.zeros_like(ids_BL)
    branch_BL = torch.full_like(ids_BL, -1)  # 0: the prompt; k: the k-th answer; -1: nothing
    asked: list[int] = []
    wanted: list[dict[int, float]] = []
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
            wanted += [lesson.following[answer[:read]] for read in range(len(answer))]
            at = span.stop
    hidden_BLH = _hidden(model, prefix, ids_BL, position_BL, branch_BL)
    places = torch.tensor([place for place, following in enumerate(wanted) for _ in following])
    tokens = torch.tensor([token for following in wanted for token in following])
    shares = torch.tensor([share for following in wanted for share in following.values()])
    logs = torch.log_softmax(model.lm_head(hidden_BLH.flatten(0, 1)[asked]), dim=-1)[places, tokens]
    distance = (shares * (shares.log() - logs)).sum() / len(wanted)
    valid = torch.zeros(len(wanted)).index_add(0, places, logs.exp())
    return distance, -valid.log().mean()


def _hidden(
    model: Qwen2ForCausalLM, prefix: list[int], ids_BL: Tensor, position_BL: Tensor, branch_BL: Tensor
) -> Tensor:
    """Return the last hidden states; a token sees the prefix, its prompt, and earlier tokens of its answer."""
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
def measure(model: Qwen2ForCausalLM, teacher: Teacher, count: int, seed: int) -> Skill:
    """Sample an edit at temperature 1 for each of `count` states not seen before."""
    random = Random(seed)
    tokenizer, task, config = teacher.tokenizer, teacher.task, teacher.config
    tokenizer.padding_side = "left"
    model.eval()
    torch.manual_seed(seed)
    states = [draw_state(random, task, config) for _ in range(count)]
    written: Counter[str] = Counter()
    uniform: dict[str, float] = {}
    for first in range(0, count, 64):
        some = states[first : first + 64]
        prompts = [teacher.tokens(action_messages(state, config)) for state in some]
        batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        out = model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=48)
        texts = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        for state, text in zip(some, texts, strict=True):
            for operation, share in operation_odds(edit_odds(state.steps, task, config.task.instructions)).items():
                uniform[operation] = uniform.get(operation, 0.0) + share
            try:
                edit = parse_edit(text)
                check(to_workflow(apply_edit(state.steps, edit, task), task), task)
            except InvalidEdit:
                continue
            written[edit.operation] += 1
    valid = written.total()
    apart = sum(abs(written[name] / max(valid, 1) - uniform[name] / count) for name in uniform) / 2
    return Skill(valid / count, apart)
