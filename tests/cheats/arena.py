# SPDX-License-Identifier: Apache-2.0
"""The tasks that the cheats are tried on, real data where it is there, and what each is worth."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from aflow_env.config import TaskConfig
from aflow_env.sandbox.pool import Sandbox
from aflow_env.tasks import Problem, Task, load_task, scorers
from aflow_env.tasks.benchmarks import livecodebench
from tests.cheats.outputs import CODE, HONEST_TEXTS, HONEST_VALUES, TEXT, Cheat, Visible, constant, program

REAL = ("gsm8k", "drop", "humaneval", "mbpp")
CODE_TASKS = ("humaneval", "mbpp", "livecodebench", "own tests")
TEMPTING = ("HumanEval/4", "HumanEval/32", "HumanEval/38", "HumanEval/50", "mbpp/367")
"""Problems whose tests call more than the solution: they are tried first."""
FORMULAS = ("math", "math aflow", "own math")
"""Their answers are compared one at a time by a process of formulas: fewer problems."""
GOLDS = (
    *(r"3\sqrt{13}", r"\frac{1}{2}", "(2,3)", "x^2+1", r"\frac{\pi}{4}", "12", "7", "2", "90", "-5", "0", "5040"),
    *(r"\{1,2,3\}", r"(0,\infty)", r"\text{east}", r"25\%", "1.5", r"\frac{3\sqrt{2}}{2}", "2x+3", "[-1,1]"),
)


@dataclass(frozen=True)
class Column:
    """One task: the honest baseline and every cheat's mean score on its problems."""

    task: str
    problems: int
    honest: float
    scores: dict[str, float] = field(default_factory=dict)

    def pays(self, cheat: str) -> bool:
        """Whether a cheat beats the best constant."""
        return self.scores[cheat] > self.honest + 1e-9


async def columns(folder: Path, data: Path | None, count: int, wanted: Sequence[str] = ()) -> list[Column]:
    """Try every cheat on `count` problems of each task; tasks with real data are left out where `data` is None."""
    with patch.object(scorers, "SECONDS", 3.0), patch.object(livecodebench, "SECONDS", 3.0):
        async with Sandbox() as sandbox:
            return [
                await column(name, task, sandbox, max(2, count // 4) if name in (*CODE_TASKS, *FORMULAS) else count)
                for name, task in tasks(folder, data)
                if not wanted or name in wanted
            ]


async def column(name: str, task: Task, sandbox: Sandbox, count: int) -> Column:
    """Try every cheat on one task."""
    problems = [problem for split in ("validate", "test") for problem in task.load(split)]
    problems = sorted(problems, key=lambda problem: problem.id not in TEMPTING)[:count]
    limit = asyncio.Semaphore(4)

    async def mean(cheat: Cheat) -> float:
        async def score(problem: Problem) -> float:
            visible = Visible(problem.prompt, problem.entry_point, problem.public_tests)
            async with limit:
                return (await task.score(problem, cheat(visible), sandbox.run_tests)).value

        return sum(await asyncio.gather(*map(score, problems))) / len(problems)

    code = name in CODE_TASKS
    cheats = CODE if code else TEXT
    honest = [program("", value) for value in HONEST_VALUES] if code else [constant(t) for t in _texts(name, problems)]
    best = max([await mean(guess) for guess in honest])
    return Column(name, len(problems), best, {key: await mean(cheat) for key, cheat in cheats.items()})


def _texts(name: str, problems: list[Problem]) -> list[str]:
    """Constants worth trying: each answer that is frequent, as the task's scorer reads it, and plain words."""
    answers = Counter(problem.answer.split("####")[-1].split("|")[0].strip() for problem in problems)
    golds = [answer for answer, _ in answers.most_common(6 if name in FORMULAS else 40)]
    return [*dict.fromkeys([*golds, *(f"\\boxed{{{gold}}}" for gold in golds[:6]), *HONEST_TEXTS])]


def tasks(folder: Path, data: Path | None) -> Iterator[tuple[str, Task]]:
    """Name -> task: the built-in benchmarks, and an own task for each scorer that a YAML can name."""
    yield "arithmetic", load_task(_config("arithmetic"))
    for name in REAL if data else ():
        yield name, load_task(_config(name, data / name))
    yield "math", load_task(_config("math", _write(folder, "math", _math())))
    yield "math aflow", load_task(_config("math", folder / "math.jsonl", scorer="aflow"))
    yield "aime", load_task(_config("aime", _write(folder, "aime", _aime())))
    yield "hotpotqa", load_task(_config("hotpotqa", _write(folder, "hotpotqa", _hotpotqa())))
    yield "livecodebench", load_task(_config("livecodebench", _write(folder, "livecodebench", _contest())))
    for scorer in ("same_text", "f1", "alternatives", "number", "whole_number", "math", "tests"):
        yield f"own {scorer}", load_task(_config(str(_own(folder, scorer))))


def _config(name: str, path: Path | None = None, **options: object) -> TaskConfig:
    sizes = {"train_size": 0, "validate_size": 100, "test_size": 400}
    return TaskConfig(name=name, path=path and str(path), options=options, **sizes)


def _write(folder: Path, name: str, records: Iterator[dict[str, object]]) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _math() -> Iterator[dict[str, object]]:
    for number in range(60):
        gold = GOLDS[number % len(GOLDS)]
        yield {
            "problem": f"Problem {number}: find it.",
            "solution": f"So \\boxed{{{gold}}}.",
            "level": "Level 5",
            "type": "x",
        }


def _aime() -> Iterator[dict[str, object]]:
    for number in range(60):
        yield {
            "problem": f"Let n = {number + 2}. Find n squared mod 1000.",
            "answer": str((number + 2) ** 2 % 1000),
            "id": str(number),
        }


_PLACES = (
    *("Ostrava", "Lugano", "Bergen", "Cork", "Varna", "Split", "Tartu", "Faro"),
    *("Graz", "Nancy", "Ghent", "Turku", "Bari", "Leeds", "Malmo", "Kiel"),
)


_FILLER = (
    "They trade in wool, salt, tin, amber, glass and cloth with each other and with the ports beyond the strait, and "
    "send a delegate every spring to the assembly, where seats go by age, by the length of the wall or by lot. "
) * 3


def _hotpotqa() -> Iterator[dict[str, object]]:
    for number in range(60):
        towns = [f"{_PLACES[(number + k) % 16]} {_PLACES[(number * 7 + k * 3) % 16]}" for k in range(8)]
        context = [
            [
                town,
                [
                    f"{town} is a town on lake number {k + number}.",
                    f" It was founded by the {k}th duke of the north.",
                    " Its market, its mills and its old bridge are known beyond the borders of the county.",
                ],
            ]
            for k, town in enumerate(towns)
        ]
        question = f"Which town lies on lake number {number + number % 8}?"
        yield {"_id": f"q{number}", "question": question, "answer": towns[number % 8], "context": context}


def _contest() -> Iterator[dict[str, object]]:
    for number in range(16):
        if number % 2:
            cases = [{"input": f"{number}\n{n}", "output": json.dumps([n, n * number])} for n in range(1, 4)]
            own = {"starter_code": "class Solution:\n    def f(self, k: int, n: int) -> List[int]:\n        "}
        else:
            cases = [{"input": f"{n} {number}\n", "output": f"{n * number + 3}\n"} for n in range(1, 4)]
            own = {"starter_code": ""}
        yield {
            "question_id": f"c{number}",
            "question_content": "Multiply.",
            "metadata": json.dumps({"func_name": "f"}),
            "public_test_cases": json.dumps(cases[:1]),
            "private_test_cases": json.dumps(cases[1:]),
            **own,
        }


def _own(folder: Path, scorer: str) -> Path:
    """The YAML of a task of 60 problems whose answers suit the scorer."""
    answers = {
        "same_text": lambda n: f"{_PLACES[n % 16]} {n}",
        "f1": lambda n: f"{_PLACES[n % 16]} {n} {_PLACES[n % 7]}",
        "alternatives": lambda n: f"{_PLACES[n % 16]} {_PLACES[n % 7]}|{n} mills|the mill {n}",
        "number": lambda n: str(n * 7 + 5),
        "whole_number": lambda n: str(n * 11 + 2),
        "math": lambda n: f"${GOLDS[n % len(GOLDS)]}$",
        "tests": lambda n: str(n + 2),
    }
    records = (
        {"n": n, "gold": answers[scorer](n), "a": n * 37 % 61 + 900, "b": f"{' and '.join(_PLACES)}. {_FILLER}"}
        for n in range(60)
    )
    _write(folder, f"own_{scorer}", records)
    keys = {"name": f"own_{scorer}", "path": f"own_{scorer}.jsonl", "id": "{n}", "answer": "{gold}", "scorer": scorer}
    keys["prompt"] = "Of {a} the towns are {b}. Which?"
    if scorer == "tests":
        keys["entry_point"] = "times"
        asserts = ("abs(c(1) - {gold}) < 1e-6", "set([c(2)]) == set([2 * {gold}])", "sorted([c(3)]) == [3 * {gold}]")
        keys["tests"] = "def check(c):" + "".join(f"\n    assert {line}" for line in asserts)
    path = folder / f"own_{scorer}.yaml"
    path.write_text(json.dumps(keys), encoding="utf-8")  # JSON is YAML
    return path
