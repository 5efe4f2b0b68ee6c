# SPDX-License-Identifier: Apache-2.0
"""Generated word problems: readable back from their text alone, graded, seeded, apart between splits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.benchmarks.arithmetic import generate, read
from tests.tasks.support import config, no_code


def solve(text: str) -> int | None:
    """The answer of the story in a text."""
    story = read(text)
    return None if story is None else story.answer


@given(seed=st.integers(), difficulty=st.integers(1, 20))
def test_text_alone_gives_the_answer_and_the_difficulty(seed: int, difficulty: int) -> None:
    text, answer = generate(seed, difficulty)
    story = read(text)
    assert story is not None
    assert (story.answer, story.difficulty) == (answer, difficulty)
    assert answer > 0


@given(seed=st.integers(0, 500), before=st.text(), after=st.text())
def test_story_is_found_inside_any_prompt(seed: int, before: str, after: str) -> None:
    text, answer = generate(seed, 3)
    assert solve(f"{before}\n{text}\n{after}") == answer


def test_white_space_may_be_rewrapped() -> None:
    text, answer = generate(4, 5)
    assert solve(text.replace(" ", "\n  ")) == answer


@pytest.mark.parametrize("text", ["", "Mia has 12 apples.", "How many apples does Mia have now?", "2 + 2 = 4"])
def test_no_story_has_no_answer(text: str) -> None:
    assert solve(text) is None


def test_a_changed_number_changes_the_answer() -> None:
    text = "Mia has 12 apples. She buys 7 more. How many apples does Mia have now?"
    assert solve(text) == 19
    assert solve(text.replace("7", "8")) == 20


def test_same_seed_same_problems_and_grades_go_round() -> None:
    task = load_task(config("arithmetic", difficulty=[2, 4]))
    problems = task.load("validate", seed=3)
    assert problems == load_task(config("arithmetic", difficulty=[2, 4])).load("validate", seed=3)
    assert [read(p.prompt).difficulty for p in problems[:6]] == [2, 3, 4, 2, 3, 4]
    assert task.load("validate", limit=5, seed=3) == problems[:5]


def test_splits_and_seeds_share_no_problem() -> None:
    task = load_task(config("arithmetic", train=300, validate=300, test=300))
    prompts = [
        p.prompt for split in ("train", "validate", "test") for seed in (0, 1) for p in task.load(split, seed=seed)
    ]
    ids = [p.id for split in ("train", "validate", "test") for seed in (0, 1) for p in task.load(split, seed=seed)]
    assert len(set(ids)) == len(ids) == 1800
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("difficulty", [[0, 3], [3, 1], [1], "hard", [1, 99], [1.5, 2]])
def test_bad_difficulty_names_the_key(difficulty: object) -> None:
    with pytest.raises(ConfigError, match=r"task\.options\.difficulty"):
        load_task(config("arithmetic", difficulty=difficulty))


async def test_scores_the_last_number() -> None:
    task = load_task(config("arithmetic"))
    for problem in task.load("validate"):
        right = await task.score(problem, f"Step 1: 3 apples. The answer is {problem.answer}.", no_code)
        wrong = await task.score(problem, f"{problem.answer}, no: {int(problem.answer) + 1}", no_code)
        assert (right.value, right.correct, right.extracted) == (1.0, True, problem.answer)
        assert (wrong.value, wrong.correct) == (0.0, False)
