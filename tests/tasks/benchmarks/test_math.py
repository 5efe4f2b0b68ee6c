# SPDX-License-Identifier: Apache-2.0
"""MATH and AIME: answers that are equal in mathematics, and outputs that must neither hang nor run."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.tasks import load_task
from aflow_env.tasks.benchmarks import math
from aflow_env.tasks.benchmarks.math import MathJudge
from aflow_env.tasks.benchmarks.math_child import aflow_equal, digits, extract, harmless
from aflow_env.tasks.formulas import plain_form, read
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.answers import whole_number
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


GOLDS = r"""
\left( 3, \frac{\pi}{2} \right) ;; p - q ;; \frac{14}{3} ;; \text{Evelyn} ;; 90^\circ ;; 3\sqrt{13} ;; 6 - 5i
6 + 9i ;; -2 + 7i ;; 1,-2 ;; 52_8 ;; 2516_8 ;; 11\sqrt2 ;; \frac{243}{625} ;; 3, 5, 7 ;; 2k+2 ;; -\frac{35}{9}
\pi ;; -50 ;; 6 \text{ inches} ;; .35625 ;; x \in [-2,7] ;; y = 2x + 3 ;; x^3+3x-6 ;; (6,31,-1) ;; (-\infty, 0]
[0,3) ;; (0,3) ;; (-\infty,-3] \cup [3,\infty) ;; (0,9) \cup (9,36) ;; \begin{pmatrix}0&1\\1&0\end{pmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} ;; \$18.90 ;; \$36 ;; 25\% ;; 12.5\% ;; 10\frac{1}{12} ;; 5\frac{1}{2}
1 \pm \sqrt{19} ;; 3 \pm 2\sqrt{2} ;; \text{(C)} ;; \text{(B)} ;; \text{even} ;; \text{odd} ;; \text{Yes}
\text{No} ;; \text{June 20} ;; \text{June 21} ;; 10,\!080 ;; 1,234,567 ;; 11,\! 111,\! 111,\! 100
\frac{270}7\text{ degrees} ;; 70 \sqrt{2} ;; 9 \sqrt{2} \text{ cm} ;; 20\text{ square units} ;; \frac 59
-\frac 34 ;; \tan x ;; \cot x ;; 2\sin^2 x ;; e^{x^2} ;; \log_2 3 ;; \ln 2 ;; \binom{10}{3} ;; 2^{10} ;; 3^{-4}
\infty ;; -\infty ;; \emptyset ;; \{1\pm\sqrt{5},-2\} ;; \left\{ \frac{1}{2}, 3 \right\} ;; 0.\overline{12}
a^2 + b^2 ;; \frac{x+2}{7} ;; 3R^2 ;; \frac{1}{x+1} ;; x < 3 ;; -2 < x < 4 ;; x \ge 4 ;; 12:30 ;; 6:00 \text{ a.m.}
6:00 \text{ p.m.} ;; \triangle ABC ;; 5t ;; 5s ;; a + c ;; a + d ;; f(3) = 17 ;; f(3) = 18 ;; y = -x ;; i
1 - i\sqrt{3} ;; 8 \cdot 10^6 ;; 1.36 ;; (2,12) ;; (12,2) ;; r = \frac{1}{7} ;; \frac{\pi}{4} + 2 ;; \sqrt[3]{4}
|x - 3| ;; 4x - 3y = 12 ;; x^2 + y^2 = 11
""".replace("\n", ";;").split(";;")
ANSWERS = [gold.strip() for gold in GOLDS if gold.strip()]


def test_a_gold_as_data_sets_have_it_is_right_for_itself_and_wrong_for_others(judges: dict[str, MathJudge]) -> None:
    """Bare LaTeX, as in MATH-500, is a gold: its own box is right, and the two next answers of the list are not."""
    judge = judges["verify"].judge
    for gold in ANSWERS:
        for output in (rf"So it is $\boxed{{{gold}}}$, not 99.", f"The answer is ${gold}$."):
            assert judge(gold, output).correct, (gold, output)
        assert judge(f"${gold}$", rf"\boxed{{{gold}}}").correct, gold
        assert judge(rf"Thus $\boxed{{{gold}}}$.", rf"\boxed{{{gold}}}").correct, gold
    for index, gold in enumerate(ANSWERS):
        for other in (ANSWERS[index - 1], ANSWERS[index - 2]):
            assert not judge(gold, rf"\boxed{{{other}}}").correct, (gold, other)


@pytest.mark.parametrize("gold", [r"\frac{3}{4}", "-3", "x^2+1", r"\sqrt{2}"])
def test_an_output_has_one_chance(judges: dict[str, MathJudge], gold: str) -> None:
    """The last box decides alone, wherever another answer stands."""
    judge = judges["verify"].judge
    assert judge(gold, rf"\boxed{{{gold}}}. The final answer is $99$.").correct
    for output in (
        rf"\boxed{{99}}. The final answer is ${gold}$.",
        rf"$\boxed{{99}}$ The final answer is ${gold}$. I hope it is correct.",
        rf"\boxed{{{gold}}} or \boxed{{99}}",
        rf"\boxed{{{gold}, 99}}",
        rf"\boxed{{{gold} \text{{ or }} 99}}",
        rf"\boxed{{99, {gold}}}",
        rf"The answer is ${gold}$. The answer is $99$.",
    ):
        assert not judge(gold, output).correct, output


@pytest.mark.parametrize(
    "output",
    [
        r"\text{NaN}", r"\frac{0}{0}", r"\frac{1}{0}", r"\infty - \infty", r"(-\infty, \infty)", r"\mathbb{R}", "x",
        r"\{x\}", r"\{0,1,2,3,4,5\}", r"[0, 5]", r"0 \le x \le 5", r"x^2 + y^2 = 5", r"g(1) = 5 = 6", "1 2", r"\pm 5",
        "f(x)", "x = x", r"5 \%  6", r"5 \ne 6", r"\int_0^1 x\,dx", "5i", r"5 \text{ or } 6", "5, 5.5", "", " ", "{}",
        r"\boxed{}", "5" * 2000,
    ],
)  # fmt: skip
def test_no_output_is_right_for_many_golds(judges: dict[str, MathJudge], output: str) -> None:
    """Sets, intervals, identities and what cannot be worked out are not equal to numbers, equations or points."""
    judge = judges["verify"].judge
    golds = (
        "5",
        "0",
        "-1",
        r"\frac{1}{3}",
        r"\sqrt{2}",
        "f(3) = 7",
        "(0, 5)",
        r"\text{yes}",
        "x = 3",
        "y = 2x",
        r"25\%",
    )
    right = [gold for gold in golds if judge(gold, rf"\boxed{{{output}}}").correct]
    assert right == []


@pytest.mark.parametrize(
    ("gold", "output", "right"),
    [
        (r"9 \sqrt{2} \text{ cm}", r"9\sqrt{2}\text{ centimeters}", True),
        (r"9 \text{ cm}", "9 cm", True),
        (r"9 \text{ cm}", r"9 \text{ m}", False),
        (r"\$0.50", r"50 \text{ cents}", False),
        (r"\$18.90", r"18.90 \text{ dollars}", True),
        (r"6 \text{ a.m.}", r"6 \text{ p.m.}", False),
        ("30", r"30^\circ", True),
        ("2516_8", "2516", True),
        ("2516_8", "2516_9", False),
        (r"25\%", "25", True),
        (r"25\%", "0.25", True),
        ("25", r"25\%", True),
        ("0.25", r"25\%", False),
        (r"5\frac{1}{2}", "5 1/2", True),
        (r"0.\overline{3}", r"\frac{1}{3}", True),
        (r"0.1\overline{6}", r"\frac{1}{6}", True),
        (r"\frac{1}{3}", "0.333333", True),
        (r"\frac{1}{3}", "0.333", False),
        ("f(3) = 7", "7", True),
        ("f(3) = 7", "f(3) = 8", False),
        ("x = 5", "y = 5", False),
        ("5", "2 + 3 = 5", True),
        ("y = 2x + 3", "y - 2x = 3", True),
        ("[-2, 7]", r"-2 \le x \le 7", True),
        ("1, -2", r"-2 \text{ and } 1", True),
        (r"\text{(A)}", "A", True),
        ("cat", "act", False),
        (r"\text{even}", "Even", True),
        ("12", "1 2", False),
        (r"12{,}500", r"12\,500", True),
    ],
)
def test_units_names_and_spellings(judges: dict[str, MathJudge], gold: str, output: str, right: bool) -> None:
    """The rules of docs/tasks.md: a unit or a name may be left out, but another one is another answer."""
    assert judges["verify"].judge(gold, rf"\boxed{{{output}}}").correct == right


@pytest.mark.parametrize(
    ("output", "extracted"),
    [
        ("The answer is 5 apples because 2 + 3 is 5.", "5"),
        ("We know 3.\n#### 18", "18"),
        ("**Answer:** 3/4", r"3/4"),
        ("sqrt(3)/2", r"\sqrt{3}/2"),
        ("Therefore x = 5", "5"),
        ("It follows that there are 12 of them in 3 rows", "3"),
        ("Evelyn", r"\text{Evelyn}"),
        (r"First $3$, then $x^2$.", "x^2"),
        ("", ""),
    ],
)
def test_the_answer_without_a_box(output: str, extracted: str) -> None:
    """After "answer", else between dollars, else on the last line."""
    assert read(output).value == extracted


async def test_one_slow_answer_does_not_hold_the_others() -> None:
    """Towers of powers end at once or with their own process, while other answers are judged."""
    judge, two, five = MathJudge(seconds=3.0), Problem("", "", "2"), Problem("", "", "5")
    try:
        assert (await judge.score(two, "2", no_code)).correct
        begin = time.monotonic()
        slow = asyncio.create_task(judge.score(five, r"\boxed{\binom{99999999}{44444444}}", no_code))
        others = await asyncio.gather(*(judge.score(two, r"\boxed{\frac{4}{2}}", no_code) for _ in range(4)))
        assert all(score.correct for score in others)
        towers = [
            judge.score(five, rf"\boxed{{{tower}}}", no_code)
            for tower in ("9^{9^{9^9}}", "10^{10^{10}}", "99999!", "9!!!")
        ]
        assert not any(score.correct for score in await asyncio.gather(*towers))
        assert not (await slow).correct
        assert time.monotonic() - begin < 60
    finally:
        judge.close()


@pytest.mark.parametrize(
    "tower", ["9^{9^{9^9}}", "10^{10^{10}}", "2^{123456}", "9**9**9**9", "5000!", "9!!!", "1" * 500]
)
def test_numbers_that_are_too_large_are_seen_before_they_are_worked_out(tower: str) -> None:
    assert plain_form(tower).is_too_large


@pytest.mark.parametrize(
    "formula", ["e^{x^2}", "2^{2^3}", "(x^2)^3", "x^{10}", "10!", "2^{1000}", r"\frac{1}{2^{2^{n}}}"]
)
def test_usual_formulas_are_not_too_large(formula: str) -> None:
    assert not plain_form(formula).is_too_large


def test_a_silent_machine_is_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only processor time counts against an answer: a machine that does not get to it is a failure of the world."""
    monkeypatch.setattr(math, "WALL_SECONDS", 0.01)
    judge = MathJudge()
    with pytest.raises(InfrastructureError, match="was silent for"):
        judge.judge("2", "2")
    judge.close()


def test_a_process_that_the_machine_kills_is_no_wrong_answer() -> None:
    """An idle one is replaced. The question of a busy one is a failure of the world."""
    judge = MathJudge()
    assert judge.judge("2", "2").correct
    judge._idle[0].kill()
    judge._idle[0].wait()
    assert judge.judge("2", r"\boxed{2}").correct
    child = judge._idle[0]
    child.send_signal(signal.SIGSTOP)  # it gets the question, and does not answer
    asked = judge._submit("2", "2")
    time.sleep(0.5)
    child.send_signal(signal.SIGKILL)
    with pytest.raises(InfrastructureError, match="was killed"):
        asked.result()
    judge.close()


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
