# SPDX-License-Identifier: Apache-2.0
"""Which operators the evaluated workflows of runs call, read off their source. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aflow_env.report.runs import RunRecord

_CALL = re.compile(r"\boperator\.([A-Z]\w*)\(")


@dataclass(frozen=True)
class Usage:
    """By operator: how many of the `n` distinct workflows call it, their share, and their mean score."""

    n: int
    count: Mapping[str, int]
    share: Mapping[str, float]
    score: Mapping[str, float]


def operators_of(graph: str) -> list[str]:
    """The operators that a workflow's source constructs, by name."""
    return sorted(set(_CALL.findall(graph)))


def operator_usage(runs: Sequence[RunRecord]) -> Usage:
    """Over the distinct workflows of each run; a workflow that was scored several times counts with its mean score."""
    scores: dict[str, list[float]] = {}
    workflows = 0
    for run in runs:
        of_run: dict[str, list[float]] = {}
        for each in run.rounds:
            if each.digest is not None and each.score is not None:
                of_run.setdefault(each.digest, []).append(each.score)
        workflows += len(of_run)
        for digest, found in of_run.items():
            for name in operators_of(run.programs.get(digest, "")):
                scores.setdefault(name, []).append(sum(found) / len(found))
    count = {name: len(found) for name, found in scores.items()}
    return Usage(
        workflows,
        count,
        {name: found / workflows for name, found in count.items()},
        {name: sum(found) / len(found) for name, found in scores.items()},
    )
