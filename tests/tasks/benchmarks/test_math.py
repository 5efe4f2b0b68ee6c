# SPDX-License-Identifier: Apache-2.0
"""MATH and AIME: answers that are equal in mathematics, and outputs that must neither hang nor run."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.answers import last_boxed, whole_number
from aflow_env.tasks.benchmarks.math_child import aflow_equal, digits, extract, harmless
from aflow_env.tasks.benchmarks.math_judge import MathJudge
from tests.tasks.support import config, no_code

EQUAL = [  # gold, an output that is right, one that is wrong
    (r"\frac{1}{2}", r"\boxed{\frac{1}{2}}", r"\boxed{2}"),
    (r"\frac{1}{2}", r"so it is $\boxed{0.5}$", r"\boxed{0.51}"),
    (r"\frac{1}{2}", r"\boxed{\dfrac12}", r"\boxed{\dfrac13}"),
    (r"\frac{3}{4}", r"The answer is $\frac{3}{4}$.", r"The answer is $\frac{4}{3}$."),
    (r"2\sqrt{2}", r"\boxed{\sqrt{8}}", r"\boxed{\sqrt{2}}"),
    (r"\frac{\sqrt{3}}{3}", r"\boxed{\frac{1}{\sqrt{3}}}", r"\boxed{\sqrt{3}}"),
    (r"1{,}234", r"\boxed{1234}", r"\boxed{12.34}"),
    (r"10080", r"\boxed{10,080}", r"\boxed{1080}"),
    (r"x^2+2x+1", r"\boxed{(x+1)^2}", r"\boxed{(x-1)^2}"),
    (r"(3, \pi)", r"\boxed{(3,\pi)}", r"\boxed{(\pi,3)}"),
    (r"\left(\frac{1}{2}, -3\right)", r"\boxed{(0.5, -3)}", r"\boxed{(0.5, 3)}"),
    (r"30^\circ", r"\boxed{30}", r"\boxed{60}"),
    (r"\$18.90", r"\boxed{18.90}", r"\boxed{18.09}"),
    (r"\text{Monday}", r"\boxed{\text{Monday}}", r"\boxed{\text{Friday}}"),
    (r"[2,5)", r"\boxed{[2, 5)}", r"\boxed{(2, 5)}"),
    (r"25\%", r"\boxed{25\%}", r"\boxed{35\%}"),
    (r"-7", r"first \boxed{7}, no, \boxed{-7}", r"\boxed{-7}, no, \boxed{7}"),
    (
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}",
        r"\boxed{\begin{pmatrix} 2 \\ 1 \end{pmatrix}}",
    ),
    (r"2^{10}", r"\boxed{1024}", r"\boxed{20}"),
    (r"5", r"\boxed{x = 5}", r"\boxed{x = 6}"),
]


def write(folder: Path) -> Path:
    rows = [
        {
            "problem": f"P{n}?",
            "solution": f"Thus $\\boxed{{{gold}}}$.",
            "level": f"Level {1 + n % 5}",
            "type": "Prealgebra",
        }
        for n, (gold, _, _) in enumerate(EQUAL)
    ]
    (folder / "validate.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def judges() -> Iterator[dict[str, MathJudge]]:
    judges = {"verify": MathJudge("verify", seconds=2.5), "aflow": MathJudge("aflow", seconds=2.5)}
    yield judges
    for judge in judges.values():
        judge.close()


async def test_scores_twenty_realistic_problems_right_and_wrong(tmp_path: Path) -> None:
    task = load_task(config("math", write(tmp_path)))
    problems = task.load("validate")
    assert len(problems) == 20
    for problem, (_, right, wrong) in zip(problems, EQUAL, strict=True):
        assert (await task.score(problem, right, no_code)).value == 1.0, right
        assert (await task.score(problem, wrong, no_code)).value == 0.0, wrong


def test_levels_and_subjects_are_kept(tmp_path: Path) -> None:
    write(tmp_path)
    assert len(load_task(config("math", tmp_path, levels=["Level 5"])).load("validate")) == 4
    assert len(load_task(config("math", tmp_path, subjects=["Prealgebra"])).load("validate")) == 20
    with pytest.raises(ConfigError, match="no validate problem"):
        load_task(config("math", tmp_path, subjects=["Algebra"])).load("validate")


def test_aflow_sizes_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "math.jsonl"
    path.write_text("".join(json.dumps({"problem": f"{n}", "solution": "\\boxed{1}"}) + "\n" for n in range(605)))
    task = load_task(config("math", path, validate=999, test=999))
    assert (len(task.load("validate")), len(task.load("test"))) == (119, 486)


@pytest.mark.parametrize("scorer", ["verify", "aflow"])
def test_hostile_outputs_neither_hang_nor_run(judges: dict[str, MathJudge], scorer: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    begin = time.monotonic()
    for output in (
        r"\boxed{10^{10^{10^{10}}}}",
        f"__import__('os').system('touch {mark}')",
        f"\\boxed{{__import__('os').system('touch {mark}')}}",
        f"The answer is $open('{mark}', 'w')$",
        "\\boxed{" * 3000,
        "(" * 5000 + "1" + ")" * 5000,
        "",
    ):
        assert not judges[scorer].judge(r"\boxed{2}", output).correct
        assert judges[scorer].judge(r"\boxed{2}", r"\boxed{2}").correct, "the judge goes on after it"
    assert time.monotonic() - begin < 35
    assert not mark.exists()


def test_aflow_scorer_follows_aflows_rules(judges: dict[str, MathJudge]) -> None:
    aflow = judges["aflow"]
    assert aflow.judge(r"\boxed{0.5}", r"\boxed{0.5004}").correct, "numbers within 1e-3"
    assert aflow.judge(r"\boxed{10\%}", r"\boxed{0.1}").correct
    assert aflow.judge(r"\boxed{x^2+2x+1}", r"\boxed{(x+1)^2}").correct
    assert not aflow.judge(r"\boxed{(1,2)}", r"\boxed{(1, 2)}").correct, "as strict as AFlow is"
    assert not aflow.judge(r"\boxed{3}", "The answer is 3").correct, "the last sentence is taken whole"


def test_extraction_and_digits() -> None:
    assert extract(r"a \boxed{1} b \boxed{\frac{1}{2}} c.") == r"\frac{1}{2}"
    assert extract("One. Two! Three 3.5 four") == "Three 3.5 four"
    assert extract("") == ""
    assert last_boxed(r"\boxed{\frac{\sqrt{a_{1}}}{2}}") == r"\frac{\sqrt{a_{1}}}{2}"
    assert last_boxed(r"\boxed{1") is None
    assert (digits("1,000"), digits(r"5\%"), digits("x")) == (1000.0, 0.05, None)
    assert aflow_equal("1/3", "0.3333")


@pytest.mark.parametrize("text", ["2*x + 1", "sqrt(2)/2", "3.5", "(1, 2)", "x = 5", "log(8, 2)"])
def test_plain_formulas_are_harmless(text: str) -> None:
    assert harmless(text)


@pytest.mark.parametrize(
    "text", ["x.real", "__import__", "open(1)", "'a'", "a[0]", "lambda: 0", "x;y", "{1}", "1 .real"]
)
def test_anything_else_is_not(text: str) -> None:
    assert not harmless(text)


def test_a_solution_without_a_boxed_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "validate.jsonl").write_text('{"problem": "p", "solution": "It is 4."}\n')
    with pytest.raises(ConfigError, match=r"line 1, field `solution` has no"):
        load_task(config("math", tmp_path)).load("validate")
    with pytest.raises(ConfigError, match=r"task\.options\.scorer='exact'"):
        load_task(config("math", tmp_path, scorer="exact"))


async def test_aime_scores_twenty_realistic_problems(tmp_path: Path) -> None:
    rows = [{"ID": f"2024-I-{n}", "Problem": f"Find {n}.", "Answer": f"{n * 37 % 1000:03d}"} for n in range(20)]
    (tmp_path / "validate.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(config("aime", tmp_path))
    problems = task.load("validate")
    assert [p.id for p in problems[:2]] == ["aime/2024-I-0", "aime/2024-I-1"]
    for problem in problems:
        right = f"We get 7 and 12, so $\\boxed{{{int(problem.answer)}}}$ (not 8)."
        assert (await task.score(problem, right, no_code)).value == 1.0
        assert (await task.score(problem, f"m + n = {problem.answer}.", no_code)).value == 1.0
        assert (await task.score(problem, f"\\boxed{{{int(problem.answer) + 1}}}", no_code)).value == 0.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("042", 42),
        ("1,024 apples", 1024),
        (r"\boxed{\text{so } 25}", 25),
        ("3.7", None),
        ("-5", -5),
        ("73.0", 73),
        ("", None),
    ],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


def test_bad_aime_answers_are_named(tmp_path: Path) -> None:
    (tmp_path / "validate.jsonl").write_text('{"problem": "p", "answer": "1000"}\n')
    with pytest.raises(ConfigError, match=r"line 1, field `answer` should be a whole number"):
        load_task(config("aime", tmp_path)).load("validate")
