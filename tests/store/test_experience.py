# SPDX-License-Identifier: Apache-2.0
"""Experience tells what happened, and neither kind of it drowns the other."""

from hypothesis import given
from hypothesis import strategies as st

from aflow_env.store.experience import Entry, choose, render
from tests.search.support import examples

scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
entries = st.lists(st.builds(Entry, st.sampled_from("abcde"), scores, st.none() | scores, st.just("why")), max_size=30)


def test_successes_failures_and_rejections_read_as_what_they_were() -> None:
    text = render(
        [
            Entry("think step by step", 0.5, 0.75),
            Entry("be brief", 0.5, 0.25),
            Entry("say please", 0.5, 0.5),
            Entry("call Foo", 0.5, None, "there is no operator Foo"),
        ]
    )
    assert text.splitlines() == [
        "- helped: think step by step (0.50 -> 0.75)",
        "- hurt: be brief (0.50 -> 0.25)",
        "- did not help: say please (0.50 -> 0.50)",
        "- rejected, not run: call Foo (there is no operator Foo)",
    ]
    assert render([]) == ""


@examples
@given(st.builds(Entry, st.text(), scores, st.none() | scores, st.text()))
def test_only_a_gain_is_a_success(entry: Entry) -> None:
    assert entry.succeeded == (entry.after is not None and entry.after > entry.before)


@examples
@given(entries, st.integers(0, 12))
def test_a_choice_is_within_the_limit_distinct_and_fair(tried: list[Entry], limit: int) -> None:
    chosen = choose(tried, limit)
    distinct = set(tried)
    assert len(chosen) == min(limit, len(distinct))
    assert len(set(chosen)) == len(chosen)
    gains = sorted((each.gain or 0.0 for each in distinct if each.succeeded), reverse=True)
    shown = [each.gain or 0.0 for each in chosen if each.succeeded]
    assert shown == gains[: len(shown)]
    others = [each for each in chosen if not each.succeeded]
    assert len(shown) >= min(len(gains), (limit + 1) // 2)
    assert len(others) >= min(len(distinct) - len(gains), limit // 2)


def test_of_the_others_the_latest_are_kept() -> None:
    tried = [Entry(str(i), 0.5, 0.25) for i in range(9)] + [Entry("good", 0.5, 1.0)]
    assert [each.modification for each in choose(tried, 3)] == ["good", "8", "7"]
