# SPDX-License-Identifier: Apache-2.0
"""The tiny policy: an ordinary Hugging Face folder, its tokenizer, its warm start, and its place in the cache."""

import json
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("transformers", reason="needs transformers: make setup")

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, Qwen2ForCausalLM

from aflow_env.rl import tiny
from aflow_env.rl.policy import digit_token_ids
from aflow_env.rl.warm_start import Teacher, draw_state, loss, one_thread, train
from aflow_env.search.proposal import action_messages, value_messages
from aflow_env.tasks import load_task
from aflow_env.workflow.edits import apply_edit, format_edit, parse_edit, uniform_edit

CONFIG = tiny.embedded_config()
TASK = load_task(CONFIG.task).spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with next to no warm start: everything but its skill."""
    out = tmp_path_factory.mktemp("tiny") / "policy"
    tiny.build_tiny(out, steps=2, sampled=8)
    return out


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """As everyone loads it: transformers picks the class by the model's type."""
    return AutoTokenizer.from_pretrained(folder)


def test_the_vocabulary_is_the_tokenizers_to_the_token(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    assert AutoConfig.from_pretrained(folder).vocab_size == len(tokenizer)


def test_heads_are_as_wide_as_vllm_wants(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    assert config.hidden_size // config.num_attention_heads >= 32


def test_every_digit_is_one_token_of_its_own(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(set(digit_token_ids(tokenizer))) == 10
    assert len(tokenizer.encode("2048", add_special_tokens=False)) == 4


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_round_trips(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    """Up to Unicode's composed form, which Qwen2's normaliser makes of everything."""
    import unicodedata

    composed = unicodedata.normalize("NFC", text)
    assert tokenizer.decode(tokenizer.encode(composed, add_special_tokens=False)) == composed


def test_prompts_are_short_and_edits_shorter(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher, random = Teacher(CONFIG, TASK, tokenizer), Random(1)
    for _ in range(50):
        state = draw_state(random, TASK, CONFIG)
        assert len(teacher.tokens(action_messages(state, CONFIG))) < 400
        edit = uniform_edit(state.steps, TASK, CONFIG.instructions, random)
        assert len(tokenizer.encode(format_edit(edit), add_special_tokens=False)) < 40


def test_both_questions_share_the_system_text(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = Teacher(CONFIG, TASK, tokenizer)
    prefix = teacher.prefix()
    state = draw_state(Random(9), TASK, CONFIG)
    for messages in (action_messages(state, CONFIG), value_messages(state, CONFIG)):
        assert teacher.tokens(messages)[: len(prefix)] == prefix


def test_lessons_teach_valid_edits_and_all_digits_alike(tokenizer: PreTrainedTokenizerBase) -> None:
    """A value question is answered by every digit once: nothing about which workflows are good gets in."""
    teacher, random = Teacher(CONFIG, TASK, tokenizer), Random(2)
    questions = 0
    for _ in range(60):
        twin = Random()
        twin.setstate(random.getstate())
        state = draw_state(twin, TASK, CONFIG)
        texts = [tokenizer.decode(answer[:-1]) for answer in teacher.lesson(random, 0).answers]
        if texts == list("0123456789"):
            questions += 1
        else:
            for text in texts:
                apply_edit(state.steps, parse_edit(text), TASK)
    assert 0 < questions < 30


def test_training_lowers_the_loss_and_is_deterministic(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = Teacher(CONFIG, TASK, tokenizer)
    with one_thread():
        first, again = (train(tiny.build_model(tokenizer, seed=3), teacher, steps=12, seed=3) for _ in range(2))
    assert first == again
    assert first[-1] < first[0]


def test_branches_do_not_see_each_other(tokenizer: PreTrainedTokenizerBase) -> None:
    """Eight answers behind one prompt have the same loss as the eight asked one by one."""
    model: Qwen2ForCausalLM = tiny.build_model(tokenizer, seed=0)
    teacher = Teacher(CONFIG, TASK, tokenizer)
    prefix = teacher.prefix()
    lesson = teacher.lesson(Random(4), len(prefix))
    together, _ = loss(model, prefix, [lesson])
    alone = [(loss(model, prefix, [type(lesson)(lesson.prompt, [each])])[0], len(each)) for each in lesson.answers]
    mean = sum(float(value.detach()) * size for value, size in alone) / sum(size for _, size in alone)
    assert float(together.detach()) == pytest.approx(mean, rel=1e-4)


def test_the_folder_says_how_it_was_made(folder: Path) -> None:
    facts = json.loads((folder / "training.json").read_text())
    assert facts["steps"] == 2
    assert 0 <= facts["valid_share"] <= 1


def test_the_cache_builds_once_and_ignores_what_a_killed_build_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(tiny, "STEPS", 1)
    monkeypatch.setattr(tiny, "SAMPLED", 1)
    (tmp_path / ".tiny-000-left").mkdir()
    first = tiny.cached_policy()
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert tiny.cached_policy() == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made
    assert tiny.cached_policy(seed=1) != first
