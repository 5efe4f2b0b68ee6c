# SPDX-License-Identifier: Apache-2.0
"""A random two-layer Qwen2 with a byte-level tokenizer, prompts and a trivial reward: real verl runs on it in seconds.

`python -m tests.verl_cpu.toy DIR` writes all of it into DIR.
"""

import json
import sys
from pathlib import Path
from typing import Any

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


def score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any) -> float:
    """verl's `reward.custom_reward_function`: the share of letters that are lower-case vowels."""
    return sum(letter in "aeiou" for letter in solution_str) / max(len(solution_str), 1)


def write(folder: Path, *, tied: bool = True) -> None:
    """Write folder/model and folder/train.jsonl."""
    tokens = tokenizer()
    tokens.save_pretrained(folder / "model")
    model(len(tokens), tied=tied).save_pretrained(folder / "model")
    rows = [
        {
            "prompt": [{"role": "user", "content": f"say {word} {count}"}],
            "data_source": "toy",
            "reward_model": {"style": "rule", "ground_truth": word},
            "extra_info": {"index": index},
        }
        for index, (word, count) in enumerate((w, c) for w in ("yes", "no", "maybe", "never") for c in range(16))
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
