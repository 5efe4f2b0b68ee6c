# SPDX-License-Identifier: Apache-2.0
"""Processes that share a provider: together never more calls than it has places, and none of them starves."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.errors import InfrastructureError
from aflow_env.llm.leases import LAPSE, TURN, LeasedPlaces, Leases, allot

WISHES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 30), min_size=1)


@given(st.integers(1, 40), WISHES, st.integers(0, 99))
def test_shares_are_max_min_fair(places: int, wanted: dict[str, int], turn: int) -> None:
    shares = allot(places, wanted, turn)
    assert sum(shares.values()) <= places
    short = {name for name, want in wanted.items() if shares[name] < want}
    if not short:
        return
    assert sum(shares.values()) == places, "who wants more gets what there is"
    assert max(shares[name] for name in wanted) <= min(shares[name] for name in short) + 1


def test_the_odd_place_goes_round() -> None:
    wanted = dict.fromkeys("abc", 5)
    assert {name for turn in range(3) for name, share in allot(1, wanted, turn).items() if share} == set("abc")
    assert sum(allot(1, wanted, 2).values()) == 1


@dataclass
class World:
    """A clock, the book, and processes that begin as many calls as they may."""

    leases: Leases
    now: float = 0.0

    def renew(self, process: str, held: int, wanted: int) -> int:
        return self.leases.renew("p", 7, process, held, wanted)


def world(settling: float = 0.0) -> World:
    made = World(Leases(settling))
    made.leases.clock = lambda: made.now
    made.leases._opened = 0.0
    return made


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 12)), max_size=60))
def test_together_they_never_exceed_the_places_whatever_they_ask_and_end(steps: list[tuple[str, int, int]]) -> None:
    place, held, may = world(), dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    for process, ended, waiting in steps:
        place.now += 0.1
        held[process] = max(0, held[process] - ended)
        may[process] = place.renew(process, held[process], held[process] + waiting)
        held[process] = max(held[process], min(may[process], held[process] + waiting))  # it begins what it may
        assert sum(held.values()) <= 7


def test_a_late_comer_gets_its_share_as_calls_end_and_a_dead_process_loses_its_own() -> None:
    place = world()
    assert place.renew("a", 0, 100) == 7
    assert place.renew("b", 0, 100) == 0, "nothing is free yet"
    place.now = TURN - 0.1
    assert place.renew("a", 7, 100) == 4, "it may begin none before it is below its share"
    assert place.renew("b", 0, 100) == 0
    assert place.renew("a", 4, 100) == 4
    assert place.renew("b", 0, 100) == 3
    place.now += LAPSE + 1  # nothing is heard of a
    assert place.renew("b", 3, 100) == 7


def test_after_a_restart_nobody_gets_more_than_it_holds_until_all_were_heard() -> None:
    place = world(settling=1.0)
    assert place.renew("a", 2, 10) == 2
    assert place.renew("b", 5, 10) == 3, "it is above its share, and may begin none"
    place.now = 2.0
    assert place.renew("a", 2, 10) == 2, "b still holds the rest"
    assert place.renew("b", 1, 1) == 1
    assert place.renew("a", 2, 10) == 6


async def test_two_processes_at_full_load_share_the_places_and_both_are_served() -> None:
    leases, running, most, done = Leases(), 0, 0, {"a": 0, "b": 0}

    def process(name: str) -> LeasedPlaces:
        async def renew(held: int, wanted: int) -> int:
            await asyncio.sleep(0.001)
            return leases.renew("p", 5, name, held, wanted)

        return LeasedPlaces(renew)

    async def call(places: LeasedPlaces, name: str) -> None:
        nonlocal running, most
        async with places:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            done[name] += 1

    one, other = process("a"), process("b")
    await asyncio.gather(*(call(one, "a") for _ in range(100)), *(call(other, "b") for _ in range(100)))
    assert done == {"a": 100, "b": 100}
    assert most == 5
    await asyncio.sleep(0.4)
    assert leases._books == {}, "an idle process gives its lease back"


async def test_who_waits_for_a_place_hears_that_the_book_is_gone_and_who_gives_up_takes_none() -> None:
    async def gone(held: int, wanted: int) -> int:
        raise InfrastructureError("the owner is gone")

    places = LeasedPlaces(gone)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="owner is gone"):
            async with places:
                pytest.fail("there was no place")

    async def one(held: int, wanted: int) -> int:
        return min(1, wanted)

    places = LeasedPlaces(one)
    async with places:
        waiting = asyncio.create_task(places.__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
    async with asyncio.timeout(1), places:
        pass


async def test_a_bug_of_ours_in_the_book_ends_the_task_that_asks_it() -> None:
    """A failure of the world is told to the calls that wait; a bug must show even where none waits."""

    async def broken(held: int, wanted: int) -> int:
        if wanted > 1:
            raise TypeError("a bug")
        return 1

    places = LeasedPlaces(broken)
    async with places:
        asking = places._renewing
        assert asking is not None
        with pytest.raises(TypeError, match="a bug"):
            await places.__aenter__()
        with pytest.raises(TypeError, match="a bug"):
            await asking
