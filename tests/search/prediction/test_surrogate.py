# SPDX-License-Identifier: Apache-2.0
"""The ridge on steps: values in [0, 1] that depend on each edit alone, and no values from too few evaluations."""

import asyncio
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from aflow_env.config import TaskConfig
from aflow_env.search.prediction.predict import Candidate, QPredictor
from aflow_env.search.prediction.surrogate import Observation, SurrogatePredictor, fit, tokens
from aflow_env.search.proposals.proposal import State
from aflow_env.store.experience import Evaluated
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.workflow.edits import apply_edit, uniform_edit
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import Step, to_workflow

SPEC = load_task(TaskConfig(name="arithmetic")).spec
PHRASES = ("Think step by step.", "Write down each quantity.", "Answer with the number only.")


def some_workflows(count: int, seed: int = 0) -> list[Workflow]:
    """Workflows that random edits of the start come to, distinct."""
    rng, steps = Random(seed), start_steps(SPEC)
    found = {}
    while len(found) < count:
        steps = apply_edit(steps, uniform_edit(steps, SPEC, PHRASES, rng), SPEC)
        found[steps] = to_workflow(steps, SPEC)
    return list(found.values())


def worth(workflow: Workflow) -> float:
    """A made-up score that programs raise and the bare number lowers."""
    text = f"{workflow.graph}\n{workflow.prompts}"
    return min(1.0, 0.3 + 0.2 * ("Programmer" in text) + 0.2 * ("quantity" in text) - 0.1 * ("only" in text))


def observed(workflows: list[Workflow]) -> list[Observation]:
    return [Observation(tokens(each), worth(each), 24) for each in workflows]


WORKFLOWS = some_workflows(120)
MODEL = fit(observed(WORKFLOWS[:80]))
STATE = State(WORKFLOWS[0], SPEC, 0.5, 24)


def ask(predictor: QPredictor | None, workflows: list[Workflow]) -> list[float]:
    assert predictor is not None
    found = asyncio.run(predictor.predict(STATE, [Candidate("", each) for each in workflows]))
    return [each.q for each in found]


def test_it_ranks_workflows_that_it_has_not_seen() -> None:
    """On unseen workflows its order is nearly that of the scores, and its values are near them."""
    fresh = WORKFLOWS[80:]
    values = ask(MODEL, fresh)
    wanted = [worth(each) for each in fresh]
    assert spearmanr(values, wanted).statistic > 0.6
    assert np.abs(np.array(values) - wanted).mean() < 0.08


@settings(max_examples=20)
@given(st.permutations(range(40)), st.integers(1, 40))
def test_the_order_and_the_company_of_edits_change_no_value(order: list[int], size: int) -> None:
    """Each edit's value is the same wherever it stands and whichever edits stand beside it."""
    fresh = WORKFLOWS[80:]
    values = ask(MODEL, fresh)
    assert ask(MODEL, [fresh[place] for place in order[:size]]) == [values[place] for place in order[:size]]


@settings(max_examples=20)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=60, max_size=60))
def test_values_lie_between_0_and_1(scores: list[float]) -> None:
    """Whatever the scores were, no value leaves the range of scores."""
    rows = [Observation(tokens(each), score, 1) for each, score in zip(WORKFLOWS, scores, strict=False)]
    values = ask(fit(rows, alpha=1e-3), WORKFLOWS)
    assert all(0.0 <= value <= 1.0 for value in values)


def test_the_same_evaluations_give_the_same_values() -> None:
    """A fit has no randomness: fitted again it says the same to the last bit."""
    assert ask(fit(observed(WORKFLOWS[:80])), WORKFLOWS) == ask(MODEL, WORKFLOWS)


def test_it_abstains_below_the_set_number_and_says_on_how_many_it_rests() -> None:
    """With one evaluation too few there is no predictor; the number is reported either way."""
    learning = SurrogatePredictor(fewest=10)
    few, enough = (learning.fitted([Evaluated(each, 0.5, 24) for each in WORKFLOWS[:count]]) for count in (9, 10))
    assert few == (None, 9)
    predictor, evaluations = enough
    assert len(ask(predictor, WORKFLOWS)) == len(WORKFLOWS)
    assert evaluations == 10


def test_no_edits_have_no_values() -> None:
    """An empty list is answered by an empty list."""
    assert ask(MODEL, []) == []


def test_scores_on_more_problems_weigh_more() -> None:
    """Where two scores of one workflow disagree, the value is nearer to the one on more problems."""
    rest, judged = observed(WORKFLOWS[1:60]), tokens(WORKFLOWS[0])
    pairs = [(Observation(judged, 0.0, few), Observation(judged, 1.0, many)) for few, many in ((1, 100), (100, 1))]
    models = [fit([*rest, *pair]) for pair in pairs]
    up, down = (model.values([judged])[0] for model in models if model)
    assert up > down + 0.2


def test_a_program_that_is_no_list_of_steps_is_read_by_its_source() -> None:
    """Code workflows have values too, and different ones where their source differs in what was seen to matter."""
    code = to_workflow((Step("Custom", PHRASES[0]),), SPEC)
    loops = [
        Workflow(code.graph.replace("return answer_1", f"x = {number}\n        return answer_1"), code.prompts)
        for number in range(60)
    ]
    assert all(token.startswith(("code ", "word ")) for token in tokens(loops[0]))
    model = fit([Observation(tokens(each), (number % 2) * 1.0, 24) for number, each in enumerate(loops)])
    values = ask(model, loops)
    assert np.mean(values[1::2]) > np.mean(values[::2]) + 0.1


@pytest.mark.parametrize("changed", ["Programmer", "ScEnsemble"])
def test_the_order_of_steps_is_told(changed: str) -> None:
    """Workflows with the same steps in another order have different tokens."""
    first, second = Step("Custom", PHRASES[0]), Step(changed, samples=3 if changed == "ScEnsemble" else 0)
    third = Step("AnswerGenerate")
    one, other = (to_workflow(steps, SPEC) for steps in ((first, second, third), (third, second, first)))
    assert sorted(tokens(one)) != sorted(tokens(other))
