# SPDX-License-Identifier: Apache-2.0
"""Groups are compared over pairs: what is one, what counts once, when a difference is clear, what else differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.errors import ConfigError
from aflow_env.report.pairs import FEW_PAIRS, Effect, also_differ, draws, grouped
from aflow_env.report.runs import RunRecord
from aflow_env.report.summary import as_csv, as_object, summarise
from tests.report.runs import run, trained, two_groups


def effect(runs: list[RunRecord]) -> Effect:
    (found,) = summarise(runs, ["rl_weight"]).effects
    return found


def test_effects_are_of_pairs_with_the_same_seed() -> None:
    """Seeds differ a lot and the gain is always 0.1: pairing sees it, and seed 9 without a partner is left out."""
    base = [run(0, seed, test=seed / 10) for seed in range(6)]
    guided = [run(0.5, seed, test=seed / 10 + 0.1) for seed in range(6)] + [run(0.5, 9, test=0.0)]
    found = effect(base + guided)
    assert (found.n, found.difference, found.clear) == (6, pytest.approx(0.1), True)


def test_the_interval_of_an_effect_is_students() -> None:
    found = effect(two_groups([0.1, 0.2, 0.3]))
    assert (found.low, found.high) == pytest.approx((0.2 - 0.2484, 0.2 + 0.2484), abs=1e-3)


@pytest.mark.parametrize("differs", [{"task__name": "gsm8k"}, {"seed": 2}, {"executor__kind": "anthropic"}])
def test_a_pair_shares_task_seed_and_executor(differs: dict[str, object]) -> None:
    other = run(0.5, 1, test=0.9)
    assert effect([run(0, 1, test=0.5), other]).n == 1
    other = run(0.5, **({"seed": 1, "test": 0.9} | differs))  # type: ignore[arg-type]
    assert summarise([run(0, 1, test=0.5), other], ["rl_weight"]).effects == ()


def test_a_search_and_a_training_are_no_pair() -> None:
    assert summarise([run(0, 1, test=0.5), trained(run(0.5, 1, test=0.9))], ["rl_weight"]).effects == ()


def test_a_seed_that_was_run_often_counts_once() -> None:
    """Else copies of a run would narrow intervals and make differences clear."""
    often = [run(0, 1, test=score) for score in (0.2, 0.4, 0.4, 0.6)]
    (group, _) = summarise([*often, run(0, 2, test=0.6), run(1, 1, test=0.5)], ["rl_weight"]).groups
    assert group.runs == 5
    assert group.test is not None
    assert (group.test.n, group.test.value) == (2, pytest.approx(0.5))
    found = effect([*often, *(run(1, 1, test=0.5) for _ in range(6))])
    assert (found.n, found.difference, found.clear) == (1, pytest.approx(0.1), False)


def test_an_effect_is_clear_from_six_pairs_on() -> None:
    gains = [0.1, 0.12, 0.09, 0.11, 0.1]
    assert not effect(two_groups(gains)).clear
    assert effect(two_groups([*gains, 0.1])).clear
    assert not effect(two_groups([0.3, -0.2] * 6)).clear


def test_the_same_scores_in_another_order_are_no_difference() -> None:
    base = [run(0, seed, test=score) for seed in range(FEW_PAIRS) for score in (0.1, 0.2, 0.3)]
    other = [run(1, seed, test=0.2) for seed in range(FEW_PAIRS)]
    assert not effect(base + other).clear


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_group_against_itself_makes_no_difference(scores: list[float]) -> None:
    runs = [run(weight, seed, test=score) for weight in (0, 1) for seed, score in enumerate(scores)]
    found = effect(runs)
    assert (found.difference, found.clear, found.n) == (0, False, len(scores))


def test_groups_are_ordered_by_value_and_a_wrong_key_names_those_that_exist() -> None:
    runs = [run(1, 0), run(0.25, 0), run(0, 0)]
    assert list(grouped(runs, ["rl_weight"])) == ["rl_weight=0", "rl_weight=0.25", "rl_weight=1"]
    with pytest.raises(ConfigError, match="rl_weight, seed"):
        summarise(runs, ["nonsense"])
    with pytest.raises(ConfigError, match="--baseline x"):
        summarise(runs, ["rl_weight"], "x")


def test_runs_without_the_key_are_never_the_baseline_by_accident() -> None:
    runs = [run(0, 0), *(run(0, 0, algorithm__name=name) for name in ("zpo", "gigpo"))]
    summary = summarise(runs, ["algorithm.name"])
    assert list(summary.members) == ["algorithm.name=gigpo", "algorithm.name=zpo", "algorithm.name=(unset)"]
    assert summary.baseline == "algorithm.name=gigpo"


def test_values_that_look_alike_in_few_digits_are_groups_of_their_own() -> None:
    assert len(grouped([run(0, 12345671), run(0, 12345672)], ["seed"])) == 2
    assert len(grouped([run(0, 0), run(0.0, 0), run("0", 0)], ["rl_weight"])) == 1  # type: ignore[arg-type]


def test_one_run_with_a_test_score_makes_all_compare_by_it() -> None:
    runs = [run(0, 0, test=0.5), run(1, 0)]
    assert summarise(runs, ["rl_weight"]).measure == "test"
    assert draws(runs, "test") == {("arithmetic", "0", "simulated", "search"): 0.5}
    assert summarise(runs[1:], ["rl_weight"]).measure == "best"


def other_keys(*runs: RunRecord) -> dict[str, list[str]]:
    return also_differ(grouped(runs, ["rl_weight"]), "rl_weight=0", "test", ["rl_weight"])


def test_what_differs_within_pairs_is_named_unless_it_says_where_or_how_fast() -> None:
    config = {"limit": 4, "sandbox__workers": 2, "run_dir": "a", "trainer__experiment_name": "a", "q": None}
    other = {"limit": 12, "sandbox__workers": 4, "run_dir": "b", "trainer__experiment_name": "b", "list": [[1], {}]}
    found = other_keys(run(0, 1, test=0.5, **config), run(1, 1, test=0.5, **other))  # type: ignore[arg-type]
    assert found == {"limit": ["12", "4"], "list": ["(unset)", "[[1], {}]"], "q": ["(unset)", "None"]}


def test_another_server_may_serve_another_policy() -> None:
    found = other_keys(run(0, 1, test=0.5, policy__base_url="a"), run(1, 1, test=0.5, policy__base_url="b"))
    assert found == {"policy.base_url": ["a", "b"]}


def test_what_differs_between_seeds_alone_is_no_cause() -> None:
    """And what is mixed otherwise in each group is one, though both groups have the same values."""

    def runs(limits: dict[tuple[int, int], int]) -> list[RunRecord]:
        return [run(weight, seed, test=0.5, limit=limit) for (weight, seed), limit in limits.items()]

    assert other_keys(*runs({(0, 1): 4, (1, 1): 4, (0, 2): 8, (1, 2): 8, (1, 3): 99})) == {}
    assert other_keys(*runs({(0, 1): 4, (1, 1): 8, (0, 2): 8, (1, 2): 4})) == {"limit": ["4", "8"]}


def test_csv_has_a_row_a_run_and_json_the_intervals() -> None:
    summary = summarise(two_groups([0.1, 0.2]), ["rl_weight"])
    lines = as_csv(summary).splitlines()
    assert len(lines) == 5
    assert len({line.count(",") for line in lines}) == 1
    found = as_object(summary, "words")
    assert (found["verdict"], found["simulated_runs"], found["groups"][0]["test"]["n"]) == ("words", 4, 2)
    assert (found["effects"][0]["n"], found["effects"][0]["clear"]) == (2, False)
