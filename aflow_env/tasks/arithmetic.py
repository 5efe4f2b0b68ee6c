# SPDX-License-Identifier: Apache-2.0
"""Generated arithmetic word problems: seeded, endless, graded by the number of operations; no file, no download.

They exercise the plumbing and the search; they do not measure a language model.
"""

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.base import Problem, RunTests, Score, Split, content_digest
from aflow_env.tasks.numbers import score_number
from aflow_env.tasks.stories import Story, generate, read, solve
from aflow_env.workflow.program import TaskSpec

__all__ = ["Arithmetic", "Story", "generate", "read", "solve"]
DIFFICULTY = (1, 6)


class Arithmetic:
    """The task: `options.difficulty` = [lowest, highest] number of operations, every grade equally often."""

    spec = TaskSpec(
        name="arithmetic",
        dataset="ARITHMETIC",
        operators=("Custom", "AnswerGenerate", "ScEnsemble", "Programmer", "Format", "Review", "Revise"),
        entry_point=False,
    )

    def __init__(self, config: TaskConfig) -> None:
        self.sizes: dict[Split, int] = {
            "train": config.train_size,
            "validate": config.validate_size,
            "test": config.test_size,
        }
        unknown = sorted(set(config.options) - {"difficulty"})
        if config.path is not None:
            raise ConfigError(f"task.path={config.path!r}: arithmetic problems are generated; leave task.path null")
        if unknown:
            raise ConfigError(f"task.options.{unknown[0]}: there is no such option of arithmetic; it has `difficulty`")
        self.difficulties = _grades(config.options.get("difficulty", DIFFICULTY))

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Problems numbered 0, 1, ... of this split and seed; grades go round, so any prefix is about evenly graded."""
        size = self.sizes[split] if limit is None else min(limit, self.sizes[split])
        return [self._problem(split, seed, index) for index in range(size)]

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """The last number of the output, as in GSM8K."""
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
                f"task.options.difficulty={option!r}: give the lowest and highest number of operations, "
                "1 to 20, e.g. task.options.difficulty=[1,6]"
            )
