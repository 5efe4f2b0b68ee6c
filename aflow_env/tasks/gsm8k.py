# SPDX-License-Identifier: Apache-2.0
"""GSM8K: grade-school word problems. Fields `question`, `answer` (ends in `#### N`); scored by the last number."""

from aflow_env.config import TaskConfig
from aflow_env.tasks.base import Problem, RunTests, Score, Split
from aflow_env.tasks.dataset import Dataset, Hub
from aflow_env.tasks.numbers import last_number, score_number
from aflow_env.tasks.options import check_options, spec_with_operators
from aflow_env.tasks.records import Record
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec(name="gsm8k", dataset="GSM8K", operators=("Custom", "ScEnsemble", "Programmer"), entry_point=False)


class Gsm8k:
    """AFlow's GSM8K: validate and test are its 1:4 split of the official test split."""

    def __init__(self, config: TaskConfig) -> None:
        check_options(config)
        self.spec = spec_with_operators(SPEC, config)
        self._data = Dataset("gsm8k", config, problem, Hub("openai/gsm8k", ("main",), train="train", whole="test"))

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """See `Dataset`; raises ConfigError."""
        return self._data.load(split, limit)

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """The last number of the output against that of the official answer."""
        return score_number(problem.answer, output)


def problem(record: Record) -> Problem:
    """A record of the official files as a problem. Raises ConfigError when the answer holds no number."""
    answer = record.text("answer")
    if last_number(answer) is None:
        raise record.error("answer", "has no number in it; GSM8K's end in `#### N`")
    return Problem("", record.text("question"), answer)
