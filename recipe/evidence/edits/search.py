# SPDX-License-Identifier: Apache-2.0
"""A search that chooses among proposed edits, in memory: the arms of the experiment are settings of `Rule`.

The draws are those of aflow_env/search/rounds.py: a round's generator is seeded by the search's seed and the number of
rounds before it, selection takes one uniform draw of it, and the proposal's seed is the next draw. So `Rule()` is the
library's own search, round for round (`compare` checks it).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Literal

import numpy as np
from numpy.random import Generator

from aflow_env.config import SelectionConfig
from aflow_env.search.choice.selection import Floats, draw, mixed_probabilities, select, ucb
from aflow_env.search.prediction.surrogate import Observation, Surrogate, fit, step_tokens
from aflow_env.search.session import session_seed
from aflow_env.store.experience import Entry, choose
from aflow_env.training.tiny_policy.lessons import DrawnState
from aflow_env.workflow.program import Workflow
from recipe.evidence.edits.players import Edited, Policy, RandomEdits
from recipe.evidence.edits.world import VALIDATE, Steps, World

BOUND = 4
"""Draws for each proposal that is wanted; duplicates use them up."""
EXPERIENCE = 4
"""Earlier edits of a node that a policy is shown, as in its training."""
LIMIT = 60
"""Rounds of any search."""
EXPLORED = SelectionConfig(sample=4, alpha=0.2, lambda_=0.3, c_ucb=0.1)
"""AFlow's soft mix with the exploration bonus of conf/aflow/default.yaml."""

AFLOW_CODE = SelectionConfig(sample=4, alpha=0.2, lambda_=0.3, c_ucb=0.0)


@dataclass(frozen=True)
class Rule:
    """How a round chooses its edit.

    `mix` is over: `one`, no choice: a node, then one proposal, whatever it is; `rank`, the library's selection of a
    node, then the best of its edits; `all`, the soft mix over all pairs; `best`, over the best `sample` pairs, of which
    one is the best pair of round 1; `nodes`, over the best `sample` nodes, each with its best pair; `top`, no mix but
    the best pair. `price` is taken off c for each executor call of the child beyond the first; with `per_call` a pair's
    probability is divided by them. With `shy` a round without a model draws one edit of the node that AFlow selects.
    """

    mix: Literal["one", "rank", "all", "best", "nodes", "top"] = "one"
    w: float = 0.0
    edits: int = 1
    nodes: int = 16
    fresh: bool = False
    log: int = 10**6
    fewest: int = 16
    price: float = 0.0
    per_call: bool = False
    shy: bool = False
    selection: SelectionConfig = AFLOW_CODE


@dataclass
class Found:
    """A node: its workflow, the search's calls until it was scored, and the prediction that was made of it."""

    steps: Steps
    parent: int
    score: float
    calls: int
    round: int
    predicted: float | None = None
    visits: int = 1
    said: str = ""


@dataclass
class Search:
    """One search under a rule. `log` are the evaluations of earlier searches.

    `proposer` draws the edits, None: evenly. `predictor` is the policy that predicts; None: the ridge.
    """

    world: World
    rule: Rule
    log: Sequence[Observation] = ()
    seed: int | None = None
    nodes: list[Found] = field(default_factory=list)
    open: dict[int, list[Edited]] = field(default_factory=dict)
    calls: int = 0
    played: int = 0
    tried: set[Steps] = field(default_factory=set)
    shadow: Surrogate | None = None
    proposer: RandomEdits | Policy | None = None
    predictor: Policy | None = None

    def __post_init__(self) -> None:
        self._seed = session_seed(self.world.seed) if self.seed is None else self.seed
        self._drawer = self.proposer or RandomEdits(self.world.config.task.instructions)
        self._predicted: dict[tuple[int, Steps], float] = {}
        self._tell(Edited("", "", self.world.start), -1, None)

    def play(self, rounds: int, calls: int) -> list[Found]:
        """Search until both so many rounds and so many calls are used; return the nodes, in order."""
        while (self.played < rounds or self.calls < calls) and self.played < LIMIT:
            rng = np.random.default_rng([self._seed, self.played])
            self.played += 1
            (self._one if self.rule.mix == "one" else self._among)(rng)
        return self.nodes

    def _one(self, rng: Generator) -> None:
        """Select a node, draw an edit of it, and lose the round where the parent has that child already."""
        parent = self._select(rng)
        (child,) = self._drawer.propose(self._state(parent), [int(rng.integers(2**31))])
        self.nodes[parent].visits += 1
        if child and not any(each.steps == child.steps and each.parent == parent for each in self.nodes):
            self._tell(child, parent, _values([child], self.shadow)[0])

    def _among(self, rng: Generator) -> None:
        """Choose among open proposals."""
        rule = self.rule
        model = self._model() if rule.w and not self.predictor else None
        alone = rule.shy and bool(rule.w) and model is None and self.predictor is None
        mixed = rule.mix != "rank"
        parents = self._frontier() if mixed and not alone else [self._select(rng)]
        draws = Random(int(rng.integers(2**31)))
        for parent in parents:
            self._fill(parent, draws, 1 if alone else rule.edits)
        pairs = [(parent, child) for parent in parents for child in self.open[parent]]
        if not pairs:
            return
        if self.predictor and rule.w:
            predicted: list[float | None] = list(self._ask(self.predictor, pairs))
        else:
            predicted = _values([child for _, child in pairs], model or self.shadow)
        led = model is not None or bool(self.predictor and rule.w)
        q = np.array(predicted) if led else np.zeros(len(pairs))
        w = rule.w if led else 0.0
        if mixed:
            bounds = dict(enumerate(self._bounds()))
            c = (1 - w) * np.array([bounds[parent] for parent, _ in pairs]) + w * q
            costs = np.array([price(child.steps) for _, child in pairs])
            c = c - rule.price * (costs - 1)
            chosen = self._mix(np.array([parent for parent, _ in pairs]), c, costs, rng)
        else:
            chosen = int(np.argmax(q + 1e-9 * rng.random(len(q))))
        parent, child = pairs[chosen]
        self.open[parent].remove(child)
        self.nodes[parent].visits += 1
        self._tell(child, parent, predicted[chosen])

    def _mix(self, parents: Floats, c: Floats, costs: Floats, rng: Generator) -> int:
        """Draw a pair; ties in an order that is drawn too."""
        rule = self.rule.selection
        order = np.lexsort((rng.random(len(c)), -c))
        match self.rule.mix:
            case "top":
                return int(order[0])
            case "best":
                first = [place for place in order if parents[place] == 0][:1]
                others = [place for place in order if place not in first]
                order = np.array([*first, *others[: rule.sample - len(first)]])
            case "nodes":
                best: dict[int, int] = {}
                for place in order:
                    best.setdefault(int(parents[place]), int(place))
                root = [best.pop(0)] if 0 in best else []
                order = np.array([*root, *list(best.values())[: rule.sample - len(root)]])
        probabilities = mixed_probabilities(c[order], rule.alpha, rule.lambda_)
        if self.rule.per_call:
            probabilities = probabilities / costs[order]
        return int(order[draw(probabilities, float(rng.random()))])

    def _frontier(self) -> list[int]:
        """Return the start and the best other nodes by their bound."""
        bounds = self._bounds()
        order = sorted(range(1, len(bounds)), key=lambda place: (-bounds[place], place))
        return [0, *order[: self.rule.nodes - 1]]

    def _fill(self, parent: int, draws: Random, edits: int) -> None:
        """Draw proposals of a node until it has enough open ones that nothing in this search equals."""
        mine = self.open[parent] = [each for each in self.open.get(parent, []) if each.steps not in self.tried]
        wanted = edits + (len(mine) if self.rule.fresh else 0)
        elsewhere = {each.steps for children in self.open.values() for each in children}
        left = BOUND * (wanted - len(mine))
        while (missing := min(wanted - len(mine), left)) > 0:
            left -= missing
            seeds = [draws.randrange(2**31) for _ in range(missing)]
            for child in self._drawer.propose(self._state(parent), seeds):
                if child and child.steps not in self.tried and child.steps not in elsewhere:
                    mine.append(child)
                    elsewhere.add(child.steps)

    def _state(self, place: int) -> DrawnState:
        """Return the state of a node for a proposer and a predictor."""
        node = self.nodes[place]
        tried = [Entry(each.said, node.score, each.score) for each in self.nodes if each.parent == place]
        shown, size = tuple(choose(tried, EXPERIENCE)), len(self.world.problems["validate"])
        facts = (self.world.task.spec, node.score, size, shown, ())
        return DrawnState(Workflow("", ""), *facts, node.steps)

    def _ask(self, policy: Policy, pairs: Sequence[tuple[int, Edited]]) -> list[float]:
        """Return the policy's Q of each pair; ask about each once."""
        for parent in dict.fromkeys(parent for parent, _ in pairs):
            new = [child for of, child in pairs if of == parent and (parent, child.steps) not in self._predicted]
            if new:
                values = policy.predict(self._state(parent), new)
                self._predicted.update(zip(((parent, child.steps) for child in new), values, strict=True))
        return [self._predicted[parent, child.steps] for parent, child in pairs]

    def _bounds(self) -> Floats:
        visits = np.array([each.visits for each in self.nodes])
        return ucb(np.array([each.score for each in self.nodes]), visits, int(visits.sum()), self.rule.selection.c_ucb)

    def _select(self, rng: Generator) -> int:
        means, visits = np.array([each.score for each in self.nodes]), np.array([each.visits for each in self.nodes])
        rounds, rule = range(1, len(self.nodes) + 1), self.rule.selection
        return select(rounds=rounds, means=means, visits=visits, config=rule, rng=rng).round - 1

    def _model(self) -> Surrogate | None:
        seen = [observation(each.steps, each.score) for each in self.nodes]
        return fit([*self.log[: self.rule.log], *seen], self.rule.fewest)

    def _tell(self, child: Edited, parent: int, predicted: float | None) -> None:
        score = self.world.score(child.steps)
        self.calls += score.calls
        self.tried.add(child.steps)
        found = Found(child.steps, parent, score.mean, self.calls, self.played, predicted, said=child.said)
        self.nodes.append(found)


def _values(children: Sequence[Edited], model: Surrogate | None) -> list[float | None]:
    """Return the ridge's predictions, None where there is no ridge."""
    return list(model.values([words(each.steps) for each in children])) if model else [None] * len(children)


def price(steps: Steps) -> int:
    """Return the executor calls of one problem, as far as the steps tell."""
    return sum(max(step.samples, 1) for step in steps)


def observation(steps: Steps, score: float) -> Observation:
    """Return the surrogate's record of an evaluation."""
    return Observation(words(steps), score, VALIDATE)


@lru_cache(maxsize=65536)
def words(steps: Steps) -> tuple[str, ...]:
    """Return the tokens of a workflow in normal form."""
    return tuple(step_tokens(steps))


def best(nodes: Sequence[Found], calls: float = np.inf, rounds: float = np.inf) -> Found:
    """Return the best node by validate score within so many calls and rounds; ties by the earlier."""
    return max((each for each in nodes if each.calls <= calls and each.round <= rounds), key=lambda each: each.score)


def logged(seeds: Sequence[int], landscape: str | None = None) -> Iterator[Observation]:
    """Yield the evaluations of stock random searches in other worlds."""
    for seed in seeds:
        for node in Search(World.of(seed, landscape), Rule()).play(20, 0):
            yield observation(node.steps, node.score)
