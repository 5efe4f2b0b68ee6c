# SPDX-License-Identifier: Apache-2.0
"""Each mini-batch has its share of whatever a rank has, and a rank keeps what it has."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("verl", reason="needs verl: make setup")
from aflow_env.cli.verbs.training import composed
from aflow_env.config import parse
from aflow_env.errors import ConfigError
from aflow_env.training.trainer.mini_batches import (
    Stratum,
    check_mini_batches,
    deal,
    mini_batches,
    ranks,
    rows_of_replay,
)
from tests.rl.batches import examples

rows = st.tuples(st.just(False), st.integers(0, 3))
padding = st.just((True, 0))


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Stratum], int, int]:
    """(strata, ranks, mini-batches) of up to 3 x 4 x 9 rows, in any order."""
    ranks, parts, size = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 9))
    count = ranks * parts * size
    return draw(st.lists(rows | padding, min_size=count, max_size=count)), ranks, parts


@examples
@given(batches())
def test_a_rank_keeps_its_rows_and_its_mini_batches_have_equally_many_of_each_kind(
    batch: tuple[list[Stratum], int, int],
) -> None:
    """Equal counts, give or take one, by padding and by stratum."""
    strata, ranks, parts = batch
    order, share = deal(strata, ranks, parts), len(strata) // ranks
    for begin in range(0, len(strata), share):
        mine = order[begin : begin + share]
        assert sorted(mine) == list(range(begin, begin + share))
        cut = [mine[place : place + share // parts] for place in range(0, share, share // parts)]
        for name in (lambda row: strata[row][0], lambda row: strata[row]):
            counts = [Counter(map(name, each)) for each in cut]
            for kind in set(map(name, mine)):
                assert max(each[kind] for each in counts) - min(each[kind] for each in counts) <= 1


@examples
@given(batches())
def test_a_single_mini_batch_stays_as_it_is(batch: tuple[list[Stratum], int, int]) -> None:
    """Where nothing is cut, nothing moves."""
    strata, ranks, _ = batch
    assert deal(strata, ranks, 1) == list(range(len(strata)))


@pytest.mark.parametrize(("devices", "rows"), [(1, 32), (3, 33), (8, 32), (64, 64)])
def test_ranks_can_share_a_mini_batch_of_value_rows(devices: int, rows: int) -> None:
    """The usual number of rows, or the next that is a multiple of the ranks."""
    config = composed("aflow_gigpo", [f"trainer.n_gpus_per_node={devices}", "trainer.nnodes=1"])
    assert ranks(config) == devices
    assert rows_of_replay(config) == rows


def test_rows_that_come_by_session_are_not_cut_by_round() -> None:
    """As many mini-batches as rounds: every fourth row would be one round of all sessions."""
    order = deal([(False, step) for _ in range(8) for step in range(4)], 1, 4)
    rounds = [row % 4 for row in order]
    assert [sorted(rounds[begin : begin + 8]) for begin in range(0, 32, 8)] == [[0, 0, 1, 1, 2, 2, 3, 3]] * 4


def test_sizes_are_verls_again_also_after_an_error() -> None:
    """The scaled sizes end with the block, whatever ends it."""
    config = composed("aflow_gigpo", ["actor_rollout_ref.actor.ppo_epochs=2"])
    before, reference = config.copy(), config.actor_rollout_ref
    with suppress(KeyError), mini_batches(config, 3, 5, epochs=1):
        sizes = reference.actor.ppo_mini_batch_size, reference.rollout.n, reference.actor.ppo_epochs
        raise KeyError
    assert sizes == (3, 5, 1)
    assert config == before


@pytest.mark.parametrize(("ranks", "prompts", "multiple"), [(3, 2, 3), (5, 4, 5), (18, 2, 9)])
def test_a_mini_batch_that_ranks_cannot_share_is_named_with_the_fix(ranks: int, prompts: int, multiple: int) -> None:
    """Two sessions of four rounds, an edit and a value row each: 16 rows a search problem."""
    overrides = ["actor_rollout_ref.rollout.n=2", "aflow.rounds=4", f"trainer.n_gpus_per_node={ranks}"]

    def check(prompts: int) -> None:
        config = composed("aflow_gigpo", [*overrides, f"actor_rollout_ref.actor.ppo_mini_batch_size={prompts}"])
        check_mini_batches(config, parse(config.aflow))

    check(multiple)
    with pytest.raises(ConfigError, match=f"_size={prompts}: {ranks} ranks cannot share.* multiple of {multiple}$"):
        check(prompts)
