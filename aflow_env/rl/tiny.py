# SPDX-License-Identifier: Apache-2.0
"""The tiny policy: a small Qwen2 that the package builds itself, for machines without a GPU or a download.

An ordinary Hugging Face folder: two layers, its own byte-level BPE tokenizer (digits are single tokens, the vocabulary
is exactly the tokenizer's), ChatML, and a warm start on uniformly drawn edits (`rl/warm_start.py`). It is no language
model: it can write the edits of one task's grammar and a digit, and that is all.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
import yaml
from filelock import FileLock
from platformdirs import user_cache_dir
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from aflow_env.config import AflowConfig, LLMConfig, TaskConfig, config_directory
from aflow_env.rl.warm_start import Teacher, draw_state, one_thread, train, valid_share
from aflow_env.search.proposal import action_messages, value_messages
from aflow_env.tasks import load_task
from aflow_env.workflow.edits import format_edit, uniform_edit
from aflow_env.workflow.program import TaskSpec

VERSION = 1
"""Raised when the recipe changes in a way that the cache's key does not see."""
HIDDEN, LAYERS, HEADS, KEY_VALUE_HEADS, POSITIONS = 128, 2, 4, 2, 4096
VOCABULARY = 1000
INITIAL_DEVIATION = 0.08
FAST_ROTATIONS, LOOK_BACK = 10, 8.0
STEPS = 550
SAMPLED = 320
RECURS = 8
"""A phrase that occurs this often in the texts of 500 states becomes a token."""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def cached_policy(seed: int = 0) -> Path:
    """The policy's folder in the cache ($AFLOW_CACHE, or the user's), built now if it is missing.

    The name holds a hash of everything that decides the weights. Processes that come at once build once; a build that
    is killed leaves a temporary folder that nobody takes for the policy.
    """
    cache = Path(os.environ.get("AFLOW_CACHE") or user_cache_dir("aflow_env"))
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"tiny-{_recipe(seed)}"
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            build_tiny(folder, seed=seed)
    return folder


def build_tiny(out: Path, seed: int = 0, steps: int | None = None, sampled: int | None = None) -> None:
    """Build, warm-start and save the policy at `out` (atomically;

    whatever is there is replaced). Prints what it does.
    """
    began = time.monotonic()
    steps, sampled = steps or STEPS, sampled or SAMPLED
    config = embedded_config()
    task = load_task(config.task).spec
    print(f"building the tiny policy at {out}: {steps} steps on uniformly drawn edits", flush=True)
    tokenizer = build_tokenizer(config, task)
    model = build_model(tokenizer, seed)
    teacher = Teacher(config, task, tokenizer)
    with one_thread():
        losses = train(model, teacher, steps, seed)
        valid = valid_share(model, teacher, sampled, seed + 1)
    seconds = time.monotonic() - began
    print(f"tiny policy: {valid:.1%} of {sampled} sampled edits are valid, {seconds:.0f} s", flush=True)
    facts: dict[str, float | str] = {
        "seed": seed,
        "steps": steps,
        "seconds": round(seconds, 1),
        "valid_share": valid,
        "sampled": sampled,
    }
    facts |= {"loss": losses[-1], "torch": str(torch.__version__), "version": VERSION}
    out.parent.mkdir(parents=True, exist_ok=True)
    half_done = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        model.save_pretrained(half_done)
        tokenizer.save_pretrained(half_done)
        (half_done / "training.json").write_text(json.dumps(facts, indent=1))
        half_done.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        half_done.rename(out)
    finally:
        shutil.rmtree(half_done, ignore_errors=True)


def embedded_config() -> AflowConfig:
    """What the policy's prompts depend on, as in conf/aflow_gigpo_cpu.yaml and conf/aflow/default.yaml."""
    phrases = yaml.safe_load((config_directory() / "aflow" / "default.yaml").read_text())["instructions"]
    return AflowConfig(
        task=TaskConfig(name="arithmetic"),
        executor=LLMConfig(kind="simulated"),
        instructions=tuple(phrases),
        state_characters=1200,
        failed_cases=0,
        experience_entries=4,
        run_dir="",
    )


def build_tokenizer(config: AflowConfig, task: TaskSpec) -> PreTrainedTokenizerBase:
    """Byte-level BPE cut as Qwen2's, on what a search's prompts and edits say; any text round-trips.

    Whole phrases that recur are tokens of their own, so that a state is some fifty tokens. They are added tokens, not
    merges: transformers loads every qwen2 folder with Qwen2Tokenizer, whose cut keeps merges inside words.
    """
    random = Random(0)
    states = [draw_state(random, task, config) for _ in range(500)]
    asked = [(action_messages(state, config), value_messages(state, config)) for state in states]
    texts = [message.content for pair in asked for messages in pair for message in messages]
    texts += [format_edit(uniform_edit(state.steps, task, config.instructions, random)) for state in states]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=SPECIAL,
        ),
    )
    learnt = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(merge) for merge in learnt["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=POSITIONS,
    )
    tokenizer.add_tokens(sorted(phrases(texts)))
    tokenizer.chat_template = CHATML
    return tokenizer


def phrases(texts: Sequence[str]) -> set[str]:
    """The runs of text without digits, up to the end of a line, that recur."""
    runs = Counter(run for text in texts for run in re.findall(r"[^0-9\n]+\n*", text))
    return {run for run, times in runs.items() if times >= RECURS and len(run) > 2}


def build_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen2ForCausalLM:
    """The untrained model; its vocabulary is the tokenizer's, to the token."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        initializer_range=INITIAL_DEVIATION,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    look_back(model)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    return model


@torch.no_grad()
def look_back(model: Qwen2ForCausalLM) -> None:
    """Let the first two heads of the first layer begin by looking one and two tokens back.

    Finding "the step after the one that says ..." takes such heads, and a model this small spends most of its warm
    start on growing them. A bias on keys and the same bias, turned by the rotary angle of d tokens, on queries makes
    one.
    """
    attention = model.model.layers[0].self_attn
    size = HIDDEN // HEADS
    half = size // 2
    angle = 1.0 / 10_000 ** (torch.arange(0, size, 2) / size)
    strength = (torch.arange(half) < FAST_ROTATIONS).float() * LOOK_BACK
    attention.k_proj.bias[:size] = torch.cat([strength, 0 * strength])  # the key that the first two heads share
    attention.k_proj.weight[:size] *= 0.1
    for head, distance in enumerate((1, 2)):
        turned = torch.cat([strength * torch.cos(distance * angle), -strength * torch.sin(distance * angle)])
        attention.q_proj.bias[head * size : (head + 1) * size] = turned
        attention.q_proj.weight[head * size : (head + 1) * size] *= 0.1


def _recipe(seed: int) -> str:
    """12 hex digits of what decides the weights: the code that draws and trains, the prompts' text, the seed."""
    config = embedded_config()
    task = load_task(config.task).spec
    states = [draw_state(Random(number), task, config) for number in range(4)]
    said = [
        message.content
        for state in states
        for message in (*action_messages(state, config), *value_messages(state, config))
    ]
    edits = [format_edit(uniform_edit(state.steps, task, config.instructions, Random(7))) for state in states]
    code = [Path(module).read_text() for module in (__file__, Path(__file__).with_name("warm_start.py"))]
    everything = json.dumps([VERSION, seed, torch.__version__, said, edits, code])
    return hashlib.sha256(everything.encode()).hexdigest()[:12]
