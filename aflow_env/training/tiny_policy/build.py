# SPDX-License-Identifier: Apache-2.0
"""Build the tiny policy: a small Qwen2 for machines without a GPU or a download.

It is an ordinary Hugging Face folder: two layers, a byte-level BPE tokenizer of its own (digits are single tokens, the
vocabulary is the tokenizer's), ChatML, and a warm start on uniformly drawn edits (warm_start.py). It is no language
model: it writes the edits of one task's grammar, and digits.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random

import torch
import yaml
from filelock import FileLock
from platformdirs import user_cache_dir
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from aflow_env.config import AflowConfig, LLMConfig, TaskConfig, config_directory
from aflow_env.errors import ConfigError
from aflow_env.files import whole_folder
from aflow_env.search.prediction.predict import value_messages
from aflow_env.search.proposals.proposal import action_messages
from aflow_env.tasks import load_task
from aflow_env.training.tiny_policy.lessons import Teacher, draw_edit, draw_state, edit_odds
from aflow_env.training.tiny_policy.warm_start import measure, one_thread, train
from aflow_env.workflow.edits import format_edit, uniform_edit
from aflow_env.workflow.program import TaskSpec

EMBEDDED = "arithmetic"
VERSION = 2
"""Raise it when the recipe changes in a way that the cache's key does not include."""
HIDDEN, LAYERS, HEADS, KEY_VALUE_HEADS, POSITIONS = 128, 2, 4, 2, 4096
VOCABULARY = 1000
INITIAL_DEVIATION = 0.08
FAST_ROTATIONS, LOOK_BACK = 10, 8.0
STEPS = 560
SAMPLED = 512
RECURS = 8
"""A phrase that occurs this often in the texts of 500 states becomes a token."""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def cached_policy(seed: int = 0, task: str = EMBEDDED) -> Path:
    """Return the folder of a task's policy in the cache ($AFLOW_CACHE, or the user's); build it if it is missing.

    A hash of everything that decides the weights is part of the name. Concurrent processes build once. A build that is
    killed leaves a temporary folder under another name.
    """
    cache = Path(os.environ.get("AFLOW_CACHE") or user_cache_dir("aflow_env"))
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"tiny-{_recipe(seed, task)}"
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            for left in cache.glob(f".{folder.name}-*"):  # by killed builds: under the lock no process writes there
                shutil.rmtree(left, ignore_errors=True)
            build_tiny(folder, seed=seed, name=task)
    return folder


def build_tiny(
    out: Path, seed: int = 0, steps: int | None = None, sampled: int | None = None, name: str = EMBEDDED
) -> None:
    """Build, warm-start and save the policy of the task `name` at `out`, whole or not at all.

    Replaces a tiny policy that is there. Prints progress on stderr. Raises ConfigError when `out` has anything else.
    """
    if out.exists() and not (out / "training.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"out={out} exists and is no tiny policy: name a folder that is new or empty")
    began = time.monotonic()
    steps, sampled = steps or STEPS, sampled or SAMPLED
    config = prompt_settings(name)
    task = load_task(config.task).spec
    _say(f"building the tiny policy of {name} at {out}: {steps} steps on uniformly drawn edits")
    tokenizer = build_tokenizer(config, task)
    with one_thread(), torch.random.fork_rng(devices=[]):
        model = build_model(tokenizer, seed)
        teacher = Teacher(config, task, tokenizer)
        distances = train(model, teacher, steps, seed)
        skill = measure(model, teacher, sampled, seed + 1)
    seconds = time.monotonic() - began
    facts = {
        "task": name,
        "seed": seed,
        "steps": steps,
        "seconds": round(seconds, 1),
        "sampled": sampled,
        "valid_share": skill.valid,
        "operation_tv": round(skill.operation_tv, 4),
        "nats_from_uniform": round(sum(distances[-50:]) / len(distances[-50:]), 4),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")} | {"recipe": VERSION},
    }
    _say(
        f"tiny policy: {skill.valid:.1%} of {sampled} sampled edits are valid, their operations "
        f"{skill.operation_tv:.3f} from uniform (total variation), {seconds:.0f} s"
    )
    with whole_folder(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "training.json").write_text(json.dumps(facts, indent=1))
        (folder / "model.safetensors").chmod(0o644)  # readable by all users of the cache, as the rest is
        shutil.rmtree(out, ignore_errors=True)  # an earlier build


def prompt_settings(task: str = EMBEDDED) -> AflowConfig:
    """Return the settings of the policy's prompts in conf/aflow_gigpo_cpu.yaml and conf/aflow/task."""
    phrases = yaml.safe_load((config_directory() / "aflow" / "task" / f"{task}.yaml").read_text())["instructions"]
    return AflowConfig(
        task=TaskConfig(name=task, instructions=tuple(phrases)),
        executor=LLMConfig(kind="policy"),  # no prompt depends on it
        state_characters=1200,
        failed_cases=0,
        experience_entries=4,
        run_dir="runs",
    )


def build_tokenizer(config: AflowConfig, task: TaskSpec) -> PreTrainedTokenizerBase:
    """Train a byte-level BPE, cut as Qwen2's, on a search's prompts and edits; any text round-trips.

    Phrases that recur are tokens of their own, so that a state is some fifty tokens. They are added tokens, not merges:
    transformers loads every qwen2 folder with Qwen2Tokenizer, which has no merges across words.
    """
    random = Random(0)
    states = [draw_state(random, task, config) for _ in range(500)]
    asked = [action_messages(state, config) for state in states]
    asked += [value_messages(state, draw_edit(random, state, config), config) for state in states]
    texts = [message.content for messages in asked for message in messages]
    texts += [format_edit(uniform_edit(state.steps, task, config.task.instructions, random)) for state in states]
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
    """Return the runs of text without digits, up to the end of a line, that recur."""
    runs = Counter(run for text in texts for run in re.findall(r"[^0-9\n]+\n*", text))
    return {run for run, times in runs.items() if times >= RECURS and len(run) > 2}


def build_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen2ForCausalLM:
    """Return the untrained model; its vocabulary is the tokenizer's."""
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
    """Set the first two heads of the first layer to attend one and two tokens back.

    Finding "the step after the one that says ..." takes such heads, and a model this small would spend most of its warm
    start on learning them. Such a head has a bias on its keys, and on its queries the same bias turned by the rotary
    angle of d tokens.
    """
    attention = model.model.layers[0].self_attn
    size = HIDDEN // HEADS
    half = size // 2
    angle = 1.0 / 10_000 ** (torch.arange(0, size, 2) / size)
    strength = (torch.arange(half) < FAST_ROTATIONS).float() * LOOK_BACK
    attention.k_proj.bias[:size] = torch.cat([strength, 0 * strength])  # the first two heads share this key
    attention.k_proj.weight[:size] *= 0.1
    for head, distance in enumerate((1, 2)):
        turned = torch.cat([strength * torch.cos(distance * angle), -strength * torch.sin(distance * angle)])
        attention.q_proj.bias[head * size : (head + 1) * size] = turned
        attention.q_proj.weight[head * size : (head + 1) * size] *= 0.1


def _recipe(seed: int, task_name: str = EMBEDDED) -> str:
    """Hash everything that decides the weights, in 12 hex digits: the code of this folder, the prompts, the seed."""
    config = prompt_settings(task_name)
    task = load_task(config.task).spec
    states = [draw_state(Random(number), task, config) for number in range(4)]
    edits = [draw_edit(Random(number), state, config) for number, state in enumerate(states)]
    said = [
        message.content
        for state, edit in zip(states, edits, strict=True)
        for message in (*action_messages(state, config), *value_messages(state, edit, config))
    ]
    odds = [edit_odds(state.steps, task, config.task.instructions) for state in states]
    code = [Path(__file__).with_name(name).read_text() for name in ("build.py", "lessons.py", "warm_start.py")]
    everything = json.dumps([VERSION, seed, torch.__version__, said, odds, code])
    return hashlib.sha256(everything.encode()).hexdigest()[:12]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
