# SPDX-License-Identifier: Apache-2.0
"""What crosses the line: the parent survives any bytes, and plain values come back as they went."""

import math
from collections import Counter, OrderedDict, deque
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aflow_env.sandbox.jail.plain import Refused, Values
from aflow_env.sandbox.jail.wire import FrameError, pack, short, unpack

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**200), 10**200) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
leaves: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | text
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False)
    | st.text()
    | st.dates()
    | st.datetimes(timezones=st.sampled_from([None, UTC]))
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))
)
hashable = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
plain = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4).map(OrderedDict)
        | st.dictionaries(hashable, inner, max_size=4).map(Counter)
        | st.lists(inner, max_size=4).map(deque)
        | st.binary().map(bytearray)
    ),
    max_leaves=15,
)


@given(st.dictionaries(text, json_values, max_size=4))
def test_a_frame_comes_back(frame: dict[str, Any]) -> None:
    line = pack(frame)
    assert line.count(b"\n") == 1
    assert unpack(line.rstrip(b"\n")) == frame


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda line: line.encode("utf-8", "surrogatepass")))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"a": ' + b"9" * 5000 + b"}")
@example(b'{"a": 1e400}')
@example(b'{"a": NaN}')
@example(b'{"\\ud800": 1}')
@example(b'{"a": "\\udfff"}')
def test_any_bytes_are_a_frame_or_a_frame_error(line: bytes) -> None:
    try:
        frame = unpack(line)
    except FrameError:
        return
    pack(frame).decode("utf-8")


@pytest.mark.parametrize("words", ["a\nb", "a\x00\x1b[31mb", "x" * 10_000, "\u202e", ""])
def test_an_error_is_one_short_printable_line(words: str) -> None:
    line = short(words)
    assert line.isprintable()
    assert len(line) <= 300


class Objects:
    """A side that shows no object but `THING`."""

    finite = False

    def number(self, value: Any) -> Any:
        if value is THING:
            return {"o": 7}
        raise Refused(f"a {type(value).__name__}")

    def find(self, tag: str, body: Any) -> Any:
        if (tag, body) != ("o", 7):
            raise ValueError(tag)
        return THING


class Finite(Objects):
    finite = True


THING = object()


def crossed(value: Any, objects: Objects | None = None) -> Any:
    return Values(objects or Objects()).decode(unpack(pack({"value": Values(Objects()).encode(value)}))["value"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plain)
def test_plain_values_come_back_with_their_types(value: Any) -> None:
    """Whatever is plain is rebuilt as itself."""
    there = crossed(value)
    assert there == value
    assert type(there) is type(value)


def test_containers_keep_their_identity() -> None:
    """A list that occurs twice arrives once, also within itself."""
    inner: list[Any] = [1]
    inner.append(inner)
    there = crossed([inner, inner])
    assert there[0] is there[1]
    assert there[0][1] is there[0]


def test_what_is_not_plain_needs_a_number() -> None:
    """Objects travel as numbers, and one that has none is refused by name."""
    assert crossed([THING])[0] is THING
    with pytest.raises(Refused, match="a builtin_function"):
        crossed("".join)
    assert math.isnan(crossed(math.nan))


@pytest.mark.parametrize("value", [math.nan, -math.inf, complex(0, math.nan), [Decimal("NaN")], {1: (math.inf,)}])
def test_a_side_may_take_finite_numbers_alone(value: Any) -> None:
    """Every comparison with nan is false, so a test that does not mention it must not meet it."""
    assert crossed(value) is not None
    with pytest.raises(Refused, match="which no test mentions"):
        crossed(value, Finite())


@pytest.mark.parametrize("data", [{"m": "os"}, {"x": 1}, {"t": [1], "s": [2]}, {}, {"k": ["type", []]}, {"a": 0}])
def test_what_was_not_encoded_is_an_error(data: Any) -> None:
    """A forged value raises, and makes nothing."""
    with pytest.raises((ValueError, LookupError)):
        Values(Objects()).decode(data)


def test_a_subclass_arrives_as_its_base() -> None:
    """Operators of a subclass stay behind; a subclass with names of its own is no plain value."""

    class Yes(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    class Stack(list[int]):
        def push(self, item: int) -> None: ...

    there = crossed([Yes(3)])
    assert type(there[0]) is int
    assert there != [4]
    with pytest.raises(Refused, match="a Stack"):
        crossed(Stack())
