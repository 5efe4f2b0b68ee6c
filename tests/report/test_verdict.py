# SPDX-License-Identifier: Apache-2.0
"""The words of a comparison claim no more than its pairs show."""

from dataclasses import replace

from aflow_env.report.runs import RunRecord
from aflow_env.report.summary import summarise
from aflow_env.report.verdict import verdict
from tests.report.runs import run, trained, two_groups

CLEAR = [0.1, 0.12, 0.09, 0.11, 0.1, 0.1]


def said(runs: list[RunRecord], by: str = "rl_weight") -> str:
    return verdict(summarise(runs, [by]))


def test_the_first_words_say_what_to_do() -> None:
    words = said(two_groups(CLEAR))
    assert words.startswith("Use rl_weight=0.5. Its mean score on held-out test problems is 0.503 [0.492, 0.514], n=6")
    assert "n=6 pairs: the interval excludes 0, so use it" in words


def test_what_is_not_clearly_better_is_not_recommended() -> None:
    for differences, why in (
        ([0.3, -0.2, 0.1, -0.1, 0.2, -0.1], "the interval holds 0, so these runs do not show that it is better"),
        (CLEAR[:5], "fewer than 6 pairs show nothing"),
        ([0.2], "+0.200 over a single pair: fewer than 6 pairs show nothing"),
    ):
        words = said(two_groups(differences))
        assert words.startswith("Keep rl_weight=0. ")
        assert why in words
        assert "use it" not in words


def test_a_group_that_is_clearly_worse_is_named() -> None:
    words = said([*two_groups([-each for each in CLEAR]), *(run(1, seed, test=0.4) for seed in range(6))])
    assert words.startswith("Keep rl_weight=0. ")
    assert "Clearly worse than rl_weight=0: rl_weight=0.5." in words


def test_the_best_of_several_differences_is_said_to_be_flattered() -> None:
    words = said([*two_groups(CLEAR), *(run(1, seed, test=0.9) for seed in range(6))])
    assert words.startswith("Use rl_weight=1. ")
    assert "Picking the best of 2 differences flatters it" in words


def test_a_higher_difference_over_few_pairs_is_not_recommended() -> None:
    assert said([*two_groups(CLEAR), run(1, 0, test=0.9)]).startswith("Use rl_weight=0.5. ")


def test_the_highest_mean_is_nothing_where_its_seeds_are_easier() -> None:
    """rl_weight=0.5 is worse on each seed that both have; its mean is the highest by seeds of its own."""
    runs = two_groups([-each for each in CLEAR]) + [run(0.5, seed, test=1.0) for seed in range(90, 99)]
    assert said(runs).startswith("Keep rl_weight=0. ")


def test_without_a_pair_nothing_is_recommended() -> None:
    words = said([run(0, 1, test=0.2), run(0.5, 2, test=0.9), trained(run(1, 1, test=0.9))])
    assert words == (
        "No run of rl_weight=0.5, rl_weight=1 shares task, seed, executor and kind (search or training) with a scored "
        "run of rl_weight=0, so no difference can be stated."
    )


def test_a_group_without_a_pair_is_named_beside_those_that_have_some() -> None:
    words = said([*two_groups(CLEAR), run(1, 99, test=0.9)])
    assert words.startswith("Use rl_weight=0.5. ")
    assert "No run of rl_weight=1 shares" in words


def test_one_scored_group_is_compared_with_nothing() -> None:
    assert said([run(0, 1, test=0.5)]).endswith("There is no other group to compare it with.")
    words = said([run(0, 1, scores=(None,)), run(1, 1)])
    assert "n=1 seed. The other groups have no score." in words
    assert "no other group" not in words
    assert said([run(0, 1, scores=(None,))]) == "No run has a score yet."


def test_runs_without_a_test_score_are_named_as_left_out() -> None:
    words = said([*two_groups(CLEAR), run(0, 98, scores=(0.2, 1.0)), run(0.5, 99)])
    assert words.startswith("Use rl_weight=0.5. Its mean score on held-out test problems is 0.503")
    assert "Left out for want of a test score, 2 of 14 runs: w0-s98, w0.5-s99." in words
    words = said([run(0, 1, test=0.5), *(run(0, seed) for seed in range(2, 9))])
    assert "7 of 8 runs: w0-s2, w0-s3, w0-s4 and 4 more." in words


def test_what_else_differs_is_named_as_a_possible_cause() -> None:
    def with_key(key: str, value: object) -> str:
        base, other = two_groups(CLEAR)[::2], two_groups(CLEAR)[1::2]
        return said([*base, *(replace(each, config={**each.config, key: value}) for each in other)])

    assert "Pairs also differ in policy.model ((unset), a): the cause may lie there." in with_key("policy.model", "a")
    assert with_key("texts", ["long " * 40]).count("long") < 10
    assert "also differ" not in with_key("run_dir", "elsewhere")
    assert "also differ" not in said(two_groups(CLEAR))
