# SPDX-License-Identifier: Apache-2.0
"""Compare this package with recorded outputs of its references: `python -m tests.golden FILE...`.

A file says by its top-level keys whose it is: `cases` with uid / traj / step are verl-agent's GiGPO advantages, which
tests/rl/reference_gigpo.py must reproduce; `selection`, `convergence` or `scorers` are AFlow's (tests/golden_aflow.py).
Prints the number of cases and the largest error of each file; exits with 1 where one passes the tolerance.
"""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from aflow_env.rl.gigpo import GigpoConfig, gigpo, step_returns
from aflow_env.rl.rows import Rows, Steps, token_advantages
from tests.rl.reference_gigpo import ReferenceRow, reference_gigpo

Finding = tuple[str, float]
"""The thing that was compared, and its largest error."""
TOLERANCE = 1e-5
AFLOW_KEYS = {"selection", "convergence", "scorers"}


def check_gigpo(data: dict[str, Any]) -> list[Finding]:
    """The reference on every case; ours on all step returns, and on the search problems where both must agree."""
    reference, ours = [], []
    agreeing = 0
    for case in data["cases"]:
        expected = torch.tensor(case["step_return"]), torch.tensor(case["advantage"])
        keys = ("uid", "traj", "anchor", "step_reward")
        rows = [ReferenceRow(*row) for row in zip(*(case[key] for key in keys), strict=True)]
        similarity = case["similarity_thresh"] if case["enable_similarity"] else None
        returns, advantages, _ = reference_gigpo(
            rows, case["gamma"], case["mode"], case["step_advantage_w"], similarity
        )
        reference += errors(mask(case) * advantages[:, None], expected[1]) + errors(returns, expected[0])
        returns, advantages = ours_on(case)
        same = [agree_by_definition(case, uid) for uid in case["uid"]]
        agreeing += len({uid for uid, agrees in zip(case["uid"], same, strict=True) if agrees})
        ours += errors(advantages[same], expected[1][same]) + errors(returns, expected[0])
    count = len(data["cases"])
    problems = sum(len(set(case["uid"])) for case in data["cases"])
    where = f"{count} cases' step returns, {agreeing} of {problems} search problems' advantages"
    return [
        (f"{count} cases", worst(reference)),
        (f"aflow_env.rl.gigpo, where both agree by definition: {where}", worst(ours)),
    ]


def ours_on(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Our step returns (N,) and token advantages (N, T) of a recorded case."""
    rows = Rows(
        uid=case["uid"],
        trajectory=case["traj"],
        anchor=case["anchor"],
        step_index=torch.tensor(case["step"]),
        step_reward=torch.tensor(case["step_reward"], dtype=torch.float64),
        is_edit=torch.ones(len(case["uid"]), dtype=torch.bool),
        response_mask=mask(case),
    )
    steps = Steps.of(rows)
    config = GigpoConfig(gamma=case["gamma"], mode=case["mode"], step_advantage_w=case["step_advantage_w"])
    advantage_N = steps.to_rows(gigpo(steps, config))
    return steps.to_rows(step_returns(steps, config.gamma)), token_advantages(advantage_N, rows.response_mask)


def agree_by_definition(case: dict[str, Any], uid: str) -> bool:
    """Whether means over rows and over sessions are one: sessions of equal length, or of one row under a deviation.

    A uid with a single row is left out, and so are clusters of similar anchors where they count.
    """
    own = [traj for each, traj in zip(case["uid"], case["traj"], strict=True) if each == uid]
    lengths = set(Counter(own).values())
    equal = len(lengths) == 1 if case["mode"] == "mean_norm" else lengths == {1}
    return len(own) > 1 and equal and not (case["enable_similarity"] and case["step_advantage_w"])


def mask(case: dict[str, Any]) -> torch.Tensor:
    """(N, T) tokens of the responses."""
    return (torch.arange(case["response_length"]) < torch.tensor(case["response_lens"])[:, None]).long()


def errors(got: torch.Tensor, expected: torch.Tensor) -> list[float]:
    """The absolute differences, flat."""
    found: list[float] = (got - expected).abs().flatten().tolist()
    return found


def worst(errors: list[float]) -> float:
    """The largest error; a NaN counts as infinite, which `max` would let through."""
    return max((error if error == error else float("inf") for error in errors), default=0.0)


def findings(data: dict[str, Any]) -> list[Finding]:
    """Compare a file of a known kind; raises ValueError for any other."""
    if keys := AFLOW_KEYS & data.keys():
        try:
            check = importlib.import_module("tests.golden_aflow").check
        except ModuleNotFoundError as error:
            raise ValueError(f"a file with {sorted(keys)} needs tests/golden_aflow.py: {error}") from error
        cases, error = check(data)
        return [(f"{cases} cases", error)]
    if data.get("cases") and {"uid", "traj", "step"} <= data["cases"][0].keys():
        return check_gigpo(data)
    raise ValueError(f"no checker for a file with the top-level keys {sorted(data)}; see the docstring of tests.golden")


def main(paths: list[str]) -> int:
    """0 when every file agrees, 1 on a mismatch, 2 when there is nothing to compare."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        try:
            found = findings(data)
        except ValueError as problem:
            print(f"{path}: {problem}", file=sys.stderr)
            status = 2
            continue
        for name, error in found:
            agrees = error <= TOLERANCE
            print(f"{path}: {name}, largest error {error:.3g}: {'ok' if agrees else f'MISMATCH (> {TOLERANCE:g})'}")
            status = max(status, 0 if agrees else 1)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
