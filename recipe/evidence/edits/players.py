# SPDX-License-Identifier: Apache-2.0
"""Who proposes edits and who predicts them in the in-memory search: uniform draws, or a checkpoint of a policy.

A policy is a Hugging Face folder that is read into this process. It is asked the questions of the library, from the
states that its training cut, so a proposal or a Q is the one that a server of the folder would give, up to the draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from aflow_env.config import AflowConfig
from aflow_env.search.prediction.predict import Candidate, value_messages
from aflow_env.search.prediction.q import expected_value
from aflow_env.search.proposals.proposal import Messages, action_messages
from aflow_env.training.tiny_policy.build import prompt_settings
from aflow_env.training.tiny_policy.lessons import DrawnState
from aflow_env.workflow.edits import InvalidEdit, apply_edit, describe, format_edit, parse_edit, uniform_edit
from aflow_env.workflow.steps import Step, to_workflow

TOKENS = 64
Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Edited:
    """A proposed edit: the text, what it says in words, and the steps that it leads to."""

    text: str
    said: str
    steps: Steps


@dataclass(frozen=True)
class RandomEdits:
    """Draws edits evenly from the grammar, as proposer=random does."""

    phrases: Sequence[str]

    def propose(self, state: DrawnState, seeds: Sequence[int]) -> list[Edited | None]:
        """Return one edit a seed."""
        edits = (uniform_edit(state.drawn, state.task, self.phrases, Random(seed)) for seed in seeds)
        return [Edited(format_edit(edit), describe(edit), apply_edit(state.drawn, edit, state.task)) for edit in edits]


@dataclass(eq=False)
class Policy:
    """A policy's checkpoint as proposer and predictor."""

    folder: Path
    config: AflowConfig = field(default_factory=prompt_settings)
    longest: int = TOKENS
    """Tokens of an answer, as `data.max_response_length` of the training."""

    def __post_init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32).eval()
        self.digits = [self.tokenizer.encode(digit, add_special_tokens=False)[0] for digit in "0123456789"]
        self.tokens = 0
        """Tokens that were read and written, as a server without a prefix cache counts them."""

    def propose(self, state: DrawnState, seeds: Sequence[int]) -> list[Edited | None]:
        """Return one sampled edit a seed; None where it does not fit."""
        texts = self._sample(self.prompt(action_messages(state, self.config)), len(seeds), seeds[0])
        return [self._edited(state, text) for text in texts]

    def predict(self, state: DrawnState, edits: Sequence[Edited]) -> list[float]:
        """Q of each edit."""
        candidates = [Candidate(edit.text, to_workflow(edit.steps, state.task)) for edit in edits]
        prompts = [self.prompt(value_messages(state, each, self.config)) for each in candidates]
        self.tokens += sum(len(prompt) + 1 for prompt in prompts)
        return list(expected_value(np.concatenate([self._digits(prompt) for prompt in prompts])))

    def prompt(self, messages: Messages) -> list[int]:
        """Return the token ids of a question."""
        chat = [message.model_dump() for message in messages]
        encoded = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(encoded["input_ids"])

    @staticmethod
    def _edited(state: DrawnState, text: str) -> Edited | None:
        try:
            edit = parse_edit(text)
            return Edited(text, describe(edit), apply_edit(state.drawn, edit, state.task))
        except InvalidEdit:
            return None

    @torch.no_grad()
    def _digits(self, prompt: list[int]) -> Any:
        logits = self.model(input_ids=torch.tensor([prompt]), logits_to_keep=1).logits[:, -1]
        return torch.log_softmax(logits, -1)[:, self.digits].double().numpy()

    @torch.no_grad()
    def _sample(self, prompt: list[int], count: int, seed: int) -> list[str]:
        """Answers at temperature 1; the prompt is read once."""
        draws = torch.Generator().manual_seed(seed)
        out = self.model(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[:, -1].expand(count, -1)
        cache.batch_repeat_interleave(count)
        end, written = self.tokenizer.eos_token_id, torch.empty(count, 0, dtype=torch.long)
        done = torch.zeros(count, dtype=torch.bool)
        while written.shape[1] < self.longest and not done.all():
            token = torch.multinomial(torch.softmax(logits, -1), 1, generator=draws)
            token[done] = end
            written, done = torch.cat([written, token], 1), done | (token[:, 0] == end)
            out = self.model(input_ids=token, past_key_values=cache, use_cache=True)
            logits = out.logits[:, -1]
        self.tokens += count * len(prompt) + int((written != end).sum())
        texts: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return texts
