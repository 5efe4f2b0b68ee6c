# SPDX-License-Identifier: Apache-2.0
"""A tiny policy of another architecture than Qwen2, with the tiny policy's tokenizer."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from aflow_env.training.rollout.policy import digit_token_ids
from aflow_env.training.tiny_policy.build import CHATML, POSITIONS, cached_policy

THINKING = CHATML.removesuffix("{% endif %}") + (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""As Qwen3's own template: the model would think before it answers, unless it is told not to."""


def write_qwen3(folder: Path, *, seed: int = 0) -> None:
    """A random Qwen3 with a head of its own, and a template that thinks by default.

    What it writes is noise. It says digits more often than the rest, whatever it is asked: embeddings share a direction
    that the digits' rows of the head share, too. Without that a random model has no prediction to read.
    """
    tokenizer = AutoTokenizer.from_pretrained(cached_policy())
    tokenizer.chat_template = THINKING
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    shared = torch.randn(config.hidden_size).sign()
    with torch.no_grad():
        model.model.embed_tokens.weight += 0.1 * shared
        model.lm_head.weight[list(digit_token_ids(tokenizer))] += 0.03 * shared
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
