# SPDX-License-Identifier: Apache-2.0
"""The benefit of Q in a run, in one line: how well it ranked, and how often it changed a decision."""

import json
import math
from dataclasses import dataclass
from statistics import fmean

from aflow_env.config import AflowConfig
from aflow_env.screen import plural
from aflow_env.search.prediction.q import within_parents
from aflow_env.store.database import Reads

_ROUNDS = (
    "SELECT session, parent, score, payload FROM nodes WHERE parent IS NOT NULL AND payload IS NOT NULL "
    "ORDER BY session, round"
)


@dataclass(frozen=True)
class Predicted:
    """An evaluated edit: its parent, its predicted score and its score."""

    parent: str
    q: float
    score: float


def worth_of_q(store: Reads, config: AflowConfig) -> str | None:
    """Return one line on Q(s, a) in the run's rounds; None without predictions."""
    rows = [(f"{session}#{parent}", score, json.loads(text)) for session, parent, score, text in store.read(_ROUNDS)]
    choices = [payload for _, _, payload in rows if "open" in payload]
    abstained = sum(payload.get("abstained", False) for payload in choices)
    decided = [payload for payload in choices if payload["w"] > 0]
    scored = [row for row in rows if "q" in row[2] and row[1] is not None]
    seen = [Predicted(parent, payload["q"], float(score)) for parent, score, payload in scored]
    if not abstained and not seen:
        return None
    rests = max((payload["evaluations"] for payload in choices if "evaluations" in payload), default=None)
    said = [config.q.kind, *([f"rests on {plural(rests, 'evaluation')}"] if rests is not None else [])]
    if seen:
        said.append(ranked(seen))
    if decided:
        said.append(
            f"changed {sum(payload.get('changed', False) for payload in decided)} of {plural(len(decided), 'decision')}"
        )
        gain = fmean(payload["q"] - payload["q_mean"] for payload in decided)
        said.append(f"chosen - mean predicted {gain:+.2f}")
    if abstained:
        few = f"with fewer than q.fewest={plural(config.q.fewest, 'evaluation')}; name earlier runs in q.runs"
        said.append(f"abstained in {abstained} of {plural(len(choices), 'round')} ({few})")
    return ", ".join(said)


def ranked(seen: list[Predicted]) -> str:
    """Return the rank correlation of Q and score within nodes with two or more edits."""
    parents = [each.parent for each in seen]
    rho = within_parents([each.q for each in seen], [each.score for each in seen], parents)
    n = sum(parents.count(parent) > 1 for parent in parents)
    return f"Spearman within parents {'undefined' if math.isnan(rho) else f'{rho:.2f}'} (n={n})"
