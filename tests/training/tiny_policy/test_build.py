# SPDX-License-Identifier: Apache-2.0
"""The tiny policy: an ordinary Hugging Face folder, its tokenizer, its warm start, and its place in the cache."""

import json
import os
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("transformers", reason="needs transformers: make setup")

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, Qwen2ForCausalLM

from aflow_env.errors import ConfigError
from aflow_env.search.prediction.predict import value_messages
from aflow_env.search.proposals.proposal import action_messages
from aflow_env.tasks import load_task
from aflow_env.training.rollout.policy import digit_token_ids
from aflow_env.training.tiny_policy import build as tiny
from aflow_env.training.tiny_policy.lessons import (
    Lesson,
    Teacher,
    draw_edit,
    draw_state,
    draw_steps,
    edit_odds,
    next_tokens,
)
from aflow_env.training.tiny_policy.warm_start import loss, measure, one_thread, train
from aflow_env.workflow.edits import apply_edit, format_edit, parse_edit, uniform_edit

CONFIG = tiny.prompt_settings()
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
@settings(max_examples=200)
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
        edit = uniform_edit(state.steps, TASK, CONFIG.task.instructions, random)
        assert len(tokenizer.encode(format_edit(edit), add_special_tokens=False)) < 40


def test_a_task_has_a_tokenizer_of_its_own_words() -> None:
    """A policy of another task reads its prompts and writes its edits in as few tokens; the cache keeps both."""
    config = tiny.prompt_settings("mbpp")
    task = load_task(config.task).spec
    teacher, random = Teacher(config, task, tiny.build_tokenizer(config, task)), Random(1)
    for _ in range(20):
        state = draw_state(random, task, config)
        assert len(teacher.tokens(action_messages(state, config))) < 400
        assert len(teacher.answer(format_edit(uniform_edit(state.steps, task, config.task.instructions, random)))) < 20
    assert tiny._recipe(0, "mbpp") != tiny._recipe(0)


def test_both_questions_share_the_system_text(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = Teacher(CONFIG, TASK, tokenizer)
    prefix = teacher.prefix()
    random = Random(9)
    state = draw_state(random, TASK, CONFIG)
    edit = draw_edit(random, state, CONFIG)
    for messages in (action_messages(state, CONFIG), value_messages(state, edit, CONFIG)):
        assert teacher.tokens(messages)[: len(prefix)] == prefix


def test_lessons_teach_all_valid_edits_and_all_digits_alike(tokenizer: PreTrainedTokenizerBase) -> None:
    """Nothing about which edits help, or which workflows are good, gets in."""
    teacher, random = Teacher(CONFIG, TASK, tokenizer), Random(2)
    digits = {token: pytest.approx(0.1) for token in digit_token_ids(tokenizer)}
    questions = 0
    for _ in range(60):
        twin = Random()
        twin.setstate(random.getstate())
        state = draw_state(twin, TASK, CONFIG)
        lesson = teacher.lesson(random, 0)
        if lesson.following[()] == digits:
            questions += 1
            continue
        for answer in lesson.answers:
            apply_edit(state.steps, parse_edit(tokenizer.decode(answer[:-1])), TASK)
        for following in lesson.following.values():
            assert sum(following.values()) == pytest.approx(1)
    assert 0 < questions < 30


def test_the_odds_are_those_of_uniform_edit() -> None:
    random, drawn, draws = Random(5), Counter[str](), 4000
    steps = draw_steps(random, TASK, CONFIG.task.instructions)
    odds = edit_odds(steps, TASK, CONFIG.task.instructions)
    for _ in range(draws):
        drawn[format_edit(uniform_edit(steps, TASK, CONFIG.task.instructions, random))] += 1
    assert set(drawn) <= set(odds)
    assert sum(odds.values()) == pytest.approx(1)
    for text, share in odds.items():
        assert drawn[text] / draws == pytest.approx(share, abs=5 * (share / draws) ** 0.5 + 1e-3)


def test_what_may_follow_a_beginning_is_what_the_answers_say() -> None:
    following = next_tokens({(1, 2): 0.5, (1, 3): 0.25, (4, 2): 0.25}, [(1, 2)])
    assert following == {(): {1: 0.75, 4: 0.25}, (1,): {2: pytest.approx(2 / 3), 3: pytest.approx(1 / 3)}}


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
    single = [Lesson(lesson.prompt, [answer], lesson.following) for answer in lesson.answers]
    alone = [(loss(model, prefix, [each])[0], len(each.answers[0])) for each in single]
    mean = sum(float(value.detach()) * size for value, size in alone) / sum(size for _, size in alone)
    assert float(together.detach()) == pytest.approx(mean, rel=1e-4)


def test_the_folder_says_how_it_was_made(folder: Path) -> None:
    facts = json.loads((folder / "training.json").read_text())
    assert facts["steps"] == 2
    assert 0 <= facts["valid_share"] <= 1
    assert 0 <= facts["operation_tv"] <= 1
    assert facts["versions"]["torch"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no tiny policy"):
        tiny.build_tiny(tmp_path, steps=1, sampled=1)
    assert (tmp_path / "thesis.txt").exists()


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a build that takes half a second and writes one file, which names the process."""

    def build(out: Path, seed: int, name: str) -> None:
        out.mkdir()
        time.sleep(0.5)
        (out / f"{os.getpid()}").touch()

    monkeypatch.setenv("AFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(tiny, "build_tiny", build)


@pytest.mark.usefixtures("built")
def test_the_cache_builds_once_and_ignores_what_a_killed_build_left(tmp_path: Path) -> None:
    left = tmp_path / f".tiny-{tiny._recipe(0)}-left"
    left.mkdir()
    first = tiny.cached_policy()
    assert not left.exists()
    [made] = first.iterdir()
    written = made.stat().st_mtime_ns
    assert tiny.cached_policy() == first
    assert made.stat().st_mtime_ns == written
    assert tiny.cached_policy(seed=1) != first
    assert tiny.cached_policy(task="mbpp") not in (first, tiny.cached_policy(seed=1))


@pytest.mark.usefixtures("built")
def test_processes_that_come_at_once_build_once() -> None:
    """The second waits until the folder of the first is whole."""

    def ask() -> None:
        assert [*tiny.cached_policy().iterdir()]

    both = [get_context("fork").Process(target=ask) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len([*tiny.cached_policy().iterdir()]) == 1


@pytest.mark.long
def test_the_policy_writes_valid_edits_of_every_kind() -> None:
    """The whole warm start, into the cache that the end-to-end test uses, then states that nobody has seen."""
    folder = tiny.cached_policy()
    facts = json.loads((folder / "training.json").read_text())
    assert facts["valid_share"] >= 0.955  # of 512 samples: 0.97 less two standard errors
    teacher = Teacher(CONFIG, TASK, AutoTokenizer.from_pretrained(folder))
    with one_thread():
        skill = measure(Qwen2ForCausalLM.from_pretrained(folder, dtype="float32"), teacher, 512, seed=99)
    assert skill.valid >= 0.955
    assert skill.operation_tv < 0.08
