# SPDX-License-Identifier: Apache-2.0
"""Generated arithmetic word problems, by seed and number of operations, for tests of the search without a model.

A story is about one quantity ("Mia has 12 apples. She buys 7 more. ..."). One table of sentences writes the stories and
reads them back.
"""

import operator
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.dataset import split_sizes
from aflow_env.tasks.problem import Problem, RunTests, Score, Split, content_digest
from aflow_env.tasks.scorers import score_number
from aflow_env.workflow.program import TaskSpec

DIFFICULTY = (1, 6)


class Arithmetic:
    """The task. `options.difficulty` = [lowest, highest] number of operations. All grades are equally frequent."""

    spec = TaskSpec(
        name="arithmetic",
        dataset="ARITHMETIC",
        operators=("Custom", "AnswerGenerate", "ScEnsemble", "Programmer", "Format", "Review", "Revise"),
        start="Answer with the number only.",  # a handicap that a search can remove
        answers="number",
    )

    def __init__(self, config: TaskConfig) -> None:
        self.sizes = split_sizes(config)
        unknown = sorted(set(config.options) - {"difficulty"})
        if config.path is not None:
            raise ConfigError(f"task.path={config.path!r}: arithmetic problems are generated; leave task.path null")
        if unknown:
            raise ConfigError(f"task.options.{unknown[0]}: there is no such option of arithmetic; it has `difficulty`")
        self.difficulties = _grades(config.options.get("difficulty", DIFFICULTY))

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Return problems 0, 1, ... of this split and seed, with the grades in turn."""
        size = self.sizes[split] if limit is None else min(limit, self.sizes[split])
        return [self._problem(split, seed, index) for index in range(size)]

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Score the last number of the output, as in GSM8K."""
        return score_number(problem.answer, output)

    def _problem(self, split: Split, seed: int, index: int) -> Problem:
        grade = self.difficulties[index % len(self.difficulties)]
        prompt, answer = generate(f"{split}/{seed}/{index}", grade)
        return Problem(f"arithmetic/{split}/{seed}/{index}-{content_digest(prompt)[:6]}", prompt, str(answer))


def _grades(option: object) -> tuple[int, ...]:
    match option:
        case [int(low), int(high)] | (int(low), int(high)) if 1 <= low <= high <= 20:
            return tuple(range(low, high + 1))
        case _:
            raise ConfigError(
                f"task.options.difficulty={option!r}: give two numbers of operations, 1 to 20, e.g. [1,6]"
            )


Kind = Literal["add", "subtract", "multiply", "divide", "nothing"]
LARGEST = 5000

PEOPLE = {
    **dict.fromkeys(("Mia", "Ana", "Zoe", "Lena", "Priya", "Olga", "Ruth", "Yuki"), "she"),
    **dict.fromkeys(("Tom", "Omar", "Ivan", "Leo", "Hugo", "Kofi", "Noah", "Wei"), "he"),
}
THINGS = ("apples", "marbles", "stickers", "coins", "books", "shells", "pencils", "cards", "stamps", "beads")
STARTS = (
    "{Who} has {n} {thing}.",
    "{Who} starts the week with {n} {thing}.",
    "There are {n} {thing} in {Who}'s box.",
    "At first, {Who} owns {n} {thing}.",
)
QUESTIONS = (
    "How many {thing} does {Who} have now?",
    "How many {thing} are left with {Who} in the end?",
    "What is the number of {thing} that {Who} has at the end?",
)
SENTENCES: tuple[tuple[Kind, str], ...] = (
    ("add", "{He} buys {n} more."),
    ("add", "A friend gives {Who} another {n} of them."),
    ("add", "Later {he} finds {n} {thing} under the bed."),
    ("add", "On Tuesday {he} wins {n} more in a game."),
    ("subtract", "{He} gives {n} of them to a neighbour."),
    ("subtract", "Then {he} loses {n} {thing} on the way home."),
    ("subtract", "{Who} sells {n} of the {thing} at the market."),
    ("subtract", "After lunch {n} of them turn out to be broken and are thrown away."),
    ("multiply", "A month later {he} has {n} times as many."),
    ("multiply", "An uncle brings so many that {Who} ends up with {n} times the number."),
    ("divide", "{He} shares them equally among {n} people, counting {himself}, and keeps one share."),
    ("divide", "{He} packs them into {n} equal bags and keeps a single bag."),
    ("nothing", "The box weighs {n} grams."),
    ("nothing", "{Who} is {n} years old."),
)
FACTORS = (2, 3, 4, 5)
_EFFECTS: dict[Kind, Callable[[int, int], int]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.floordiv,
    "nothing": lambda quantity, number: quantity,
}


@dataclass(frozen=True)
class Operation:
    """One step of a story."""

    kind: Kind
    number: int

    def apply(self, quantity: int) -> int:
        """Return the quantity afterwards. Divisions in stories are exact."""
        return _EFFECTS[self.kind](quantity, self.number)


@dataclass(frozen=True)
class Story:
    """A problem that was read from a text: the quantity at the start, its operations, and its place in the text."""

    start: int
    operations: tuple[Operation, ...]
    thing: str
    begins: int
    ends: int

    @property
    def answer(self) -> int:
        """The quantity at the end."""
        return self.quantities[-1]

    @property
    def quantities(self) -> tuple[int, ...]:
        """The quantity at the start and after each operation."""
        return (*accumulate(self.operations, lambda quantity, step: step.apply(quantity), initial=self.start),)

    @property
    def difficulty(self) -> int:
        """The number of operations that change the quantity."""
        return len(self.operations)


def generate(seed: object, difficulty: int) -> tuple[str, int]:
    """Return a story with `difficulty` operations, at least 1, and its answer. They depend on the arguments alone."""
    draw = random.Random(f"arithmetic/{seed}/{difficulty}")
    who, thing = draw.choice(tuple(PEOPLE)), draw.choice(THINGS)
    quantity = draw.randint(11, 60)
    lines = [_write(draw.choice(STARTS), who, thing, quantity)]
    idle_after = draw.randrange(difficulty) if draw.random() < 0.5 else None
    for index in range(difficulty):
        operation = _next_operation(draw, quantity)
        lines.append(_write(_sentence(draw, operation.kind), who, thing, operation.number))
        quantity = operation.apply(quantity)
        if index == idle_after:
            lines.append(_write(_sentence(draw, "nothing"), who, thing, draw.randint(7, 90)))
    return " ".join([*lines, _write(draw.choice(QUESTIONS), who, thing, 0)]), quantity


def read(text: str) -> Story | None:
    """Return the first whole story in `text`, if any, in linear time."""
    for opening in _START.finditer(text):
        operations: list[Operation] = []
        position = opening.end()
        while match := _SENTENCE.match(text, position):
            kind = SENTENCES[int(str(match.lastgroup)[1:])][0]
            if kind != "nothing":
                operations.append(Operation(kind, _number(match)))
            position = match.end()
        if operations and (closing := _QUESTION.match(text, position)):
            thing = next(thing for thing in THINGS if thing in closing.group())
            return Story(_number(opening), tuple(operations), thing, opening.start(), closing.end())
    return None


def _next_operation(draw: random.Random, quantity: int) -> Operation:
    """Draw an operation that keeps the quantity whole, positive and below LARGEST."""
    divisors = [n for n in FACTORS if quantity % n == 0 and quantity // n >= 3]
    fits: dict[Kind, bool] = {
        "add": True,
        "subtract": quantity > 12,
        "multiply": quantity * max(FACTORS) <= LARGEST,
        "divide": bool(divisors),
    }
    kind = draw.choice([kind for kind, fit in fits.items() if fit])
    if kind == "divide":
        return Operation(kind, draw.choice(divisors))
    if kind == "multiply":
        return Operation(kind, draw.choice(FACTORS))
    return Operation(kind, draw.randint(2, min(quantity - 1, 99) if kind == "subtract" else 99))


def _sentence(draw: random.Random, kind: Kind) -> str:
    return draw.choice([text for each, text in SENTENCES if each == kind])


def _write(template: str, who: str, thing: str, number: int) -> str:
    he = PEOPLE[who]
    himself = {"she": "herself", "he": "himself"}[he]
    return template.format(Who=who, thing=thing, n=number, he=he, He=he.capitalize(), himself=himself)


def _pattern(template: str, digits: str) -> str:
    """Return the template as a regular expression. `digits` is the expression of its number."""
    words = {
        "Who": f"(?:{'|'.join(PEOPLE)})",
        "thing": f"(?:{'|'.join(THINGS)})",
        "n": digits,
        "he": "(?:she|he)",
        "He": "(?:She|He)",
        "himself": "(?:herself|himself)",
    }
    parts = re.split(r"\{(\w+)\}", template)
    text = "".join(words[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return text.replace(r"\ ", r"\s+")


def _number(match: re.Match[str]) -> int:
    found = re.search(r"\d+", match.group())
    assert found is not None
    return int(found.group())


_DIGITS = r"\d{1,9}"
_START = re.compile("|".join(_pattern(text, _DIGITS) for text in STARTS))
_SENTENCE = re.compile("|".join(rf"(?P<s{i}>\s+{_pattern(text, _DIGITS)})" for i, (_, text) in enumerate(SENTENCES)))
_QUESTION = re.compile("|".join(rf"\s+{_pattern(text, '')}" for text in QUESTIONS))
