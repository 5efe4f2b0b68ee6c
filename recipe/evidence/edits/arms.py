# SPDX-License-Identifier: Apache-2.0
"""The registered arms by part (the package's docstring says why), as settings of the in-memory search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from aflow_env.config import config_directory
from recipe.evidence.edits.players import Policy
from recipe.evidence.edits.search import EXPLORED, Rule

SECONDARY = 30
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TRAPS = str(config_directory() / "aflow" / "landscape_traps.yaml")


@dataclass(frozen=True)
class Arm:
    """How to search, and which policies propose and predict; None: even draws, and the ridge."""

    rule: Rule
    proposer: Policy | None = None
    predictor: Policy | None = None


def arms() -> dict[str, Rule]:
    """Return the arms of all seeds."""
    joint = {f"joint {mix} w={w:g}": Rule(mix, w, 8, selection=EXPLORED) for mix in ("all", "best") for w in WEIGHTS}
    plain = {
        "stock": Rule(),
        "control": Rule("rank", 0, 8),
        "rank 8": Rule("rank", 1, 8),
        "rank 32": Rule("rank", 1, 32),
    }
    return {**plain, **joint}


def secondary() -> dict[str, Rule]:
    """Return the arms of the first seeds only."""
    base = Rule("best", 0.75, 8, selection=EXPLORED)
    return {
        **{f"joint nodes w={w:g}": replace(base, mix="nodes", w=w) for w in (0.0, 0.5, 1.0)},
        **{f"joint top w={w:g}": replace(base, mix="top", w=w) for w in (0.5, 1.0)},
        "best w=0.75, 4 nodes": replace(base, nodes=4),
        "best w=0.75, 32 edits": replace(base, edits=32),
        "best w=0.75, 4 nodes x 32": replace(base, nodes=4, edits=32),
        "best w=0.75, c_ucb=0": replace(base, selection=EXPLORED.model_copy(update={"c_ucb": 0.0})),
        "best w=0.75, no log": replace(base, log=0),
        "best w=0.75, log of 40": replace(base, log=40),
        "best w=0.75, log of 150": replace(base, log=150),
        "rank 8, fresh": Rule("rank", 1, 8, fresh=True),
    }


def first_arms(seed: int) -> dict[str, Rule]:
    """Return the arms of a seed of the first part."""
    return {**arms(), **(secondary() if seed < SECONDARY else {})}


def followed() -> dict[str, Rule]:
    """Return the arms of the follow-up, on seeds of its own."""
    base = Rule("all", 0.75, 8, selection=EXPLORED)
    best4 = replace(base, mix="best")
    select = EXPLORED.model_copy
    return {
        "stock": Rule(),
        "rank 8, fresh": Rule("rank", 1, 8, fresh=True),
        "all": base,
        "all, w=1": replace(base, w=1),
        "all, 32 edits": replace(base, edits=32),
        "all, 4 nodes": replace(base, nodes=4),
        "all, alpha=0.4": replace(base, selection=select(update={"alpha": 0.4})),
        "all, lambda=0": replace(base, selection=select(update={"lambda_": 0.0})),
        "all, price 0.01": replace(base, price=0.01),
        "all, per call": replace(base, per_call=True),
        "all, 32 edits, per call": replace(base, edits=32, per_call=True),
        "best, 32 edits": replace(best4, edits=32),
        "best, sample=16": replace(best4, selection=select(update={"sample": 16})),
        "best, price 0.01": replace(best4, price=0.01),
    }


def confirmed() -> dict[str, Rule]:
    """Return the arms of the confirmation, on seeds of its own."""
    base = Rule("all", 0, 8, per_call=True, selection=EXPLORED)
    return {
        "stock": Rule(),
        **{f"per call w={w:g}": replace(base, w=w) for w in WEIGHTS},
        "all w=0.75": replace(base, w=0.75, per_call=False),
    }


def as_library(w: float) -> Rule:
    """Return the rule of the library with its defaults."""
    return Rule("all", w, 8, fewest=40, per_call=True, shy=True, selection=EXPLORED)


def library() -> dict[str, Rule]:
    """Return the library's rule at each weight, with a log and without."""
    no_log = {f"w={w:g}, no log": replace(as_library(w), log=0) for w in (0.5, 1.0)}
    return {"stock": Rule(), **{f"w={w:g}": as_library(w) for w in WEIGHTS}, **no_log}


def trapped() -> dict[str, Rule]:
    """Return the library's rule at each weight, where edits look useless until a second one follows."""
    return {"stock": Rule(), **{f"w={w:g}": as_library(w) for w in WEIGHTS}}


def by_policies(policies: Mapping[str, Policy]) -> dict[str, Arm]:
    """Who proposes, and who predicts."""
    found = {"stock": Arm(Rule())}
    for name, policy in policies.items():
        found[f"{name} proposes, w=0"] = Arm(as_library(0), policy)
        for w in (0.5, 1.0):
            found[f"{name} proposes, surrogate, w={w:g}"] = Arm(as_library(w), policy)
            found[f"{name} proposes, {name} Q, w={w:g}"] = Arm(as_library(w), policy, policy)
            found[f"random edits, {name} Q, w={w:g}"] = Arm(as_library(w), None, policy)
    return found


@dataclass(frozen=True)
class Part:
    """A registered part: its first seed, its landscape, and the arms of a seed. Its results are in edits_NAME.jsonl."""

    first: int
    arms: Callable[[int], Mapping[str, Rule]]
    landscape: str | None = None


PARTS = {
    "first": Part(0, first_arms),
    "follow": Part(100, lambda _: followed()),
    "confirm": Part(200, lambda _: confirmed()),
    "library": Part(300, lambda _: library()),
    "traps": Part(400, lambda _: trapped(), TRAPS),
    "policies": Part(500, lambda _: {}),
}
RESTARTED = ("first", "traps")
"""Parts with the arm `restarts`."""
