# SPDX-License-Identifier: Apache-2.0
"""Compare this package with recorded outputs of its references: `python -m tests.golden FILE...`.

A file says by its top-level keys whose it is: `cases` with uid / traj / step are verl-agent's GiGPO advantages (the
preset `REFERENCE` must reproduce them), `selection`, `convergence` or `scorers` are AFlow's (tests/golden_aflow.py).
Prints the number of cases and the largest error of each file; exits with 1 where one passes the tolerance.
"""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aflow_env.rl.gigpo import REFERENCE, GigpoRows, compute_gigpo

TOLERANCE = 1e-5
AFLOW_KEYS = {"selection", "convergence", "scorers"}


def check_gigpo(data: dict[str, Any]) -> tuple[int, float]:
    """(cases, largest difference in any step return or token advantage)."""
    errors = [gigpo_error(case) for case in data["cases"]]
    return len(errors), worst(errors)


def gigpo_error(case: dict[str, Any]) -> float:
    count, width = len(case["uid"]), case["response_length"]
    rows = GigpoRows(
        uid=case["uid"],
        trajectory=case["traj"],
        anchor=case["anchor"],
        step_index=torch.tensor(case["step"]),
        step_reward=torch.tensor(case["step_reward"], dtype=torch.float64),
        valid=torch.tensor(case.get("valid", [True] * count)),
        is_padding=torch.zeros(count, dtype=torch.bool),
        response_mask=(torch.arange(width) < torch.tensor(case["response_lens"])[:, None]).long(),
    )
    config = REFERENCE.model_copy(
        update={
            "mode": case["mode"],
            "gamma": case["gamma"],
            "step_advantage_w": case["step_advantage_w"],
            "anchor": "similarity" if case["enable_similarity"] else "exact",
            "similarity_thresh": case["similarity_thresh"],
        }
    )
    result = compute_gigpo(rows, config)
    return worst(
        [
            (result.step_returns - torch.tensor(case["step_return"])).abs().max().item(),
            (result.advantages - torch.tensor(case["advantage"])).abs().max().item(),
        ]
    )


def worst(errors: list[float]) -> float:
    """The largest error; a NaN counts as infinite, which `max` would let through."""
    return max((error if error == error else float("inf") for error in errors), default=0.0)


def checker(data: dict[str, Any]) -> Callable[[dict[str, Any]], tuple[int, float]]:
    """The function that knows this kind of file; raises ValueError for a kind that nobody knows."""
    if keys := AFLOW_KEYS & data.keys():
        try:
            check: Callable[[dict[str, Any]], tuple[int, float]] = importlib.import_module("tests.golden_aflow").check
        except ModuleNotFoundError as error:
            raise ValueError(f"a file with {sorted(keys)} needs tests/golden_aflow.py: {error}") from error
        return check
    if data.get("cases") and {"uid", "traj", "step"} <= data["cases"][0].keys():
        return check_gigpo
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
            cases, error = checker(data)(data)
        except ValueError as problem:
            print(f"{path}: {problem}", file=sys.stderr)
            status = 2
            continue
        agrees = error <= TOLERANCE
        print(f"{path}: {cases} cases, largest error {error:.3g}: {'ok' if agrees else f'MISMATCH (> {TOLERANCE:g})'}")
        status = max(status, 0 if agrees else 1)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
