# SPDX-License-Identifier: Apache-2.0
"""The weight of Q over time: never above rl_weight, 0 until something is proved, and all of it for a perfect Q."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.search.belief import BEGINNING, FEWEST, Progress, Proof, proved, weight

share = st.floats(0.0, 1.0)
proofs_of = st.lists(st.tuples(share, share), max_size=60)


def config(schedule: str, w: float = 0.8, ramp: int = 10) -> AflowConfig:
    keys = (f"rl_weight_schedule={schedule}", f"rl_weight={w}", f"rl_weight_ramp={ramp}")
    return load([*keys, "policy.base_url=http://localhost:1/v1"])


CONSTANT, LINEAR, SKILL = map(config, ("constant", "linear", "skill"))


@given(st.sampled_from((CONSTANT, LINEAR, SKILL)), st.none() | st.integers(0, 99), st.integers(0, 99), proofs_of)
def test_it_stays_between_0_and_rl_weight(
    config: AflowConfig, steps: int | None, rounds: int, proofs: list[Proof]
) -> None:
    assert 0.0 <= weight(config, Progress(steps, (tuple(proofs),)), rounds, proofs) <= config.rl_weight


def test_linear_counts_steps_in_training_and_rounds_without() -> None:
    assert [weight(LINEAR, Progress(step), 3) for step in (0, 5, 10, 99)] == pytest.approx([0, 0.4, 0.8, 0.8])
    assert [weight(LINEAR, BEGINNING, rounds) for rounds in (0, 5, 99)] == pytest.approx([0, 0.4, 0.8])


@given(st.lists(share, min_size=FEWEST + 1, max_size=60))
def test_a_constant_proves_nothing_whatever_it_says(came: list[float]) -> None:
    for says in (0.0, float(np.mean(came)), 1.0):
        assert proved([[(says, each) for each in came]]) == pytest.approx(0.0, abs=1e-9)


@given(st.lists(st.tuples(share, share), min_size=FEWEST + 1, max_size=40))
def test_knowing_which_session_is_a_good_one_proves_nothing(levels: list[tuple[float, float]]) -> None:
    """A selection chooses within a session, so a Q that is right about each session's level alone gets no weight."""
    sessions = [[(level, level - spread / 4), (level, level + spread / 4)] for level, spread in levels]
    assert proved(sessions) == pytest.approx(0.0, abs=1e-9)
    assert proved([[proof] for session in sessions for proof in session]) == 0.0, "one expansion has nothing to rank"


def test_ranking_within_sessions_proves_whatever_the_level() -> None:
    sessions = [[(0.4, level - 0.1), (0.6, level + 0.1)] for level in np.linspace(0.1, 0.9, FEWEST)]
    assert proved(sessions) == pytest.approx(1.0)
    assert proved(sessions[:-1]) == 0.0, "too few"


@given(st.lists(share, min_size=FEWEST + 1, max_size=60).filter(lambda came: np.var(came) > 1e-6))
def test_a_perfect_q_gets_all_of_it_and_few_proofs_nothing(came: list[float]) -> None:
    proofs = [(each, each) for each in came]
    assert weight(SKILL, BEGINNING, 0, proofs) == pytest.approx(SKILL.rl_weight)
    assert weight(SKILL, Progress(5, (tuple(proofs),)), 0) == pytest.approx(SKILL.rl_weight), (
        "those of earlier steps, too"
    )
    assert weight(SKILL, BEGINNING, 0, proofs[:FEWEST]) == 0.0


@given(st.lists(st.tuples(share, share), min_size=FEWEST + 1, max_size=40), share)
def test_being_nearer_to_what_came_never_lowers_it(proofs: list[Proof], nearer: float) -> None:
    better = [(q + nearer * (came - q), came) for q, came in proofs]
    assert proved([better]) >= proved([proofs]) - 1e-9


@pytest.mark.parametrize("wrong", ["rl_weight_schedule=never", "rl_weight_ramp=0"])
def test_what_cannot_work_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong.split("=")[0]):
        load([wrong], defaults=("rl_weight=0",))
