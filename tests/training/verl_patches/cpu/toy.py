# SPDX-License-Identifier: Apache-2.0
"""A random two-layer Qwen2 with a byte-level tokenizer: real engines load it in seconds."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte and four special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    outer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    outer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    outer.chat_template = TEMPLATE
    return outer


def model(vocab: int, *, tied: bool, seed: int = 0) -> Qwen2ForCausalLM:
    """Random fp32 weights, wide enough apart that log-probs of different models are uncorrelated; head size 32."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=256,
        pad_token_id=257,
    )
    return Qwen2ForCausalLM(config)


def write(folder: Path, *, tied: bool = True) -> None:
    """Write folder/model."""
    tokens = tokenizer()
    tokens.save_pretrained(folder / "model")
    model(len(tokens), tied=tied).save_pretrained(folder / "model")
