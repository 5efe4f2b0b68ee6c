# SPDX-License-Identifier: Apache-2.0
"""What crosses the line: the parent survives any bytes, and plain values come back as they went."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aflow_env.sandbox.jail.plain import decode, encode
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


@given(plain)
def test_plain_values_come_back_with_their_types(value: Any) -> None:
    there = decode(encode(value, lambda _: None), lambda _: None)
    assert there == value
    assert type(there) is type(value)


def test_what_is_not_plain_needs_a_handle() -> None:
    thing = object()
    assert encode([thing], lambda _: 7) == [{"o": 7}]
    assert decode([{"o": 7}], lambda number: (number, thing)) == [(7, thing)]
    with pytest.raises(TypeError, match="object cannot be sent"):
        encode(thing, lambda _: None)
    assert math.isnan(decode(encode(math.nan, lambda _: None), lambda _: None))


@pytest.mark.parametrize("data", [{"m": "os.path.evil"}, {"m": "aflow_env"}, {"x": 1}, {"t": [1], "s": [2]}, {}])
def test_what_was_not_encoded_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="not an encoded value"):
        decode(data, lambda _: None)


@pytest.mark.parametrize("kind", [Decimal, Fraction])
def test_a_subclass_arrives_as_its_base(kind: type) -> None:
    class Yes(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    there = decode(encode([Yes(3), kind(2)], lambda _: None), lambda _: None)
    assert type(there[0]) is int
    assert there != [4, 2]
