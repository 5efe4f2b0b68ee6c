# SPDX-License-Identifier: Apache-2.0
"""The judge's end of the line against a solution that writes frames of its own."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aflow_env.sandbox.jail.exam import judge
from aflow_env.sandbox.jail.standin import OPERATIONS
from aflow_env.sandbox.jail.wire import Link, pack

texts = st.sampled_from(
    [*"abcdefiknopqrstuyzBD", "int", "type", "ValueError", "date", "deque", "Counter", "Pattern", "nan", "0x7"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=12,
)
frames = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 2) | values,
        "value": values,
        "changed": st.lists(st.tuples(st.integers(-2, 2), values).map(list), max_size=2) | values,
        "raises": values,
        "name": texts,
        "text": texts,
        "blocked": st.booleans(),
        "refused": texts,
        "stopped": st.booleans(),
        "op": st.sampled_from(sorted(OPERATIONS)) | texts,
        "args": st.lists(values | st.integers(-1, 2).map(lambda number: {"y": number}), max_size=3),
        "named": st.dictionaries(texts, values, max_size=1),
    },
)


class ScriptedLink(Link):
    """A solution that says what it likes."""

    def __init__(self, script: list[dict[str, Any]]) -> None:
        self.cap = 1 << 20
        self.script = script

    def send(self, frame: dict[str, Any]) -> None:
        pack(frame)

    def receive(self) -> dict[str, Any]:
        return self.script.pop(0) if self.script else {}


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(frames | frames.map(lambda frame: {**frame, "id": 1}), max_size=6))
def test_no_script_of_frames_passes(script: list[dict[str, Any]]) -> None:
    """Whatever a solution sends, the judge ends with a verdict against it, and blames nobody else."""
    tests = "SECRET = 10**40 + 7\nclass O: x = [1]\no = O()\nassert f(o, [1], lambda n: n) == SECRET and o.x == [1]"
    assert judge(ScriptedLink(script), tests, "function", "f")["outcome"] in ("crash", "violation")
