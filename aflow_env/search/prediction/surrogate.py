# SPDX-License-Identifier: Apache-2.0
"""A ridge regression that predicts a workflow's score from its steps. It needs no GPU and no policy.

It is fitted on stored evaluations of this search and of earlier runs. A workflow in normal form has tokens of its steps
(operators, instructions, their words, neighbours), any other program the words of its source. Tokens are hashed into a
fixed number of columns, so only the weights are fitted.

    score = intercept + sum over tokens of weight
    intercept and weights minimise  sum over i of n_i / mean(n) * error_i^2  +  alpha * |weights|^2

n_i is the number of problems behind score i. scikit-learn is imported on the first fit, since its import is slow.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from aflow_env.search.prediction.predict import ActionValue, Candidate
from aflow_env.search.proposals.proposal import State
from aflow_env.store.experience import Evaluated
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import NotNormalForm, Step, to_steps

COLUMNS = 4096
ALPHA = 5.0
FEWEST = 40
"""With fewer evaluations the surrogate abstains. A log of 40 was the smallest that helped (recipe/evidence/edits)."""
_WORD = re.compile(r"[a-z]+|\d+")


@dataclass(frozen=True)
class Observation:
    """An evaluated workflow: its tokens, and its mean score in [0, 1] over n problems."""

    tokens: tuple[str, ...]
    score: float
    n: int


@dataclass(frozen=True)
class Surrogate:
    """A fitted ridge."""

    model: Any

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
        """Return the predicted score of each edit's workflow."""
        return [ActionValue(value) for value in self.values([tokens(edit.workflow) for edit in edits])]

    def values(self, workflows: Sequence[tuple[str, ...]]) -> list[float]:
        """Return the predicted score of each workflow, given by its tokens."""
        values: list[float] = np.clip(self.model.predict(_hashed(workflows)), 0.0, 1.0).tolist() if workflows else []
        return values


@dataclass(frozen=True)
class SurrogatePredictor:
    """Fits a surrogate in each round, on evaluations of earlier runs (`logged`) and of this one."""

    logged: tuple[Observation, ...] = ()
    fewest: int = FEWEST

    def fitted(self, evaluated: Sequence[Evaluated]) -> tuple[Surrogate | None, int]:
        """Return the surrogate that is fitted on these evaluations and the logged ones."""
        known = [*self.logged, *map(observation, evaluated)]
        return fit(known, self.fewest), len(known)


def observation(evaluated: Evaluated) -> Observation:
    """Return the surrogate's observation of an evaluated workflow."""
    return Observation(tokens(evaluated.workflow), evaluated.score, evaluated.n)


def fit(observations: Sequence[Observation], fewest: int = FEWEST, alpha: float = ALPHA) -> Surrogate | None:
    """Fit a ridge on the observations, deterministically; None below `fewest`."""
    if len(observations) < fewest:
        return None
    from sklearn.linear_model import Ridge

    problems = np.array([each.n for each in observations], dtype=np.float64)
    scores = np.array([each.score for each in observations])
    model = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-6)
    model.fit(_hashed([each.tokens for each in observations]), scores, sample_weight=problems / problems.mean())
    return Surrogate(model)


def _hashed(workflows: Sequence[tuple[str, ...]]) -> Any:
    """Return the sparse matrix with one row a workflow and the counts of its tokens in hashed columns."""
    from sklearn.feature_extraction import FeatureHasher

    return FeatureHasher(COLUMNS, input_type="string").transform(workflows)


@lru_cache(maxsize=65536)
def tokens(workflow: Workflow) -> tuple[str, ...]:
    """Return the tokens of a workflow's steps, or of its source when it is not in normal form."""
    try:
        return tuple(step_tokens(to_steps(workflow)))
    except NotNormalForm:
        return tuple(_source_tokens(workflow))


def step_tokens(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the tokens of a list of steps. A token that is yielded twice counts twice."""
    yield f"length {len(steps)}"
    names = [f"{step.operator} {step.instruction}" for step in steps]
    operators = [step.operator for step in steps]
    for step, name in zip(steps, names, strict=True):
        yield f"operator {step.operator}"
        yield f"step {name}"
        if step.samples:
            yield f"samples {step.samples}"
        yield from (f"word {word}" for word in _words(step.instruction))
    yield f"first {names[0]}"
    yield f"last {names[-1]}"
    yield f"last operator {operators[-1]}"
    for row in (names, operators):
        yield from (f"then {first} > {second}" for first, second in pairwise(row))


def _source_tokens(workflow: Workflow) -> Iterator[str]:
    """Yield the names and numbers of a program, also in pairs, and the words of its prompts."""
    code = re.findall(r"\w+", ast.unparse(ast.parse(workflow.graph)))
    yield from (f"code {word}" for word in code)
    yield from (f"code {first} {second}" for first, second in pairwise(code))
    yield from (f"word {word}" for word in _words(workflow.prompts))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
