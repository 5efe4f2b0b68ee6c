# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/results.md whose executor is a real model, by their names in page.md."""

from collections.abc import Sequence
from statistics import correlation
from typing import Any

from recipe.evidence.paired import Arms, Row, by_arm, gain, mean, scored
from recipe.evidence.real import NAMES
from recipe.evidence.simulated_figures import STOCK, Figures


def training(steps: Sequence[Row]) -> Figures:
    """Return the figures of the trainings on a GPU."""
    qwen = [step for step in steps if step["run"] == "qwen"]
    kinds = {".3f": ("best", "valid", "repeated"), "+.3f": ("episode_return",), ".0f": ("seconds", "seconds_search")}
    shown = {key: kind for kind, keys in kinds.items() for key in keys}
    return {
        "gpu_steps": len(qwen),
        "gpu_correlation": f"{min(step['correlation'] for step in qwen):.4f}",
        **{f"gpu_{key}": f"{qwen[0][key]:{kind}} to {qwen[-1][key]:{kind}}" for key, kind in shown.items()},
        **{f"gpu_{key}": f"{sum(step[key] for step in qwen):,.0f}" for key in ("policy_tokens", "executor_tokens")},
    }


def searches(rows: Sequence[Row], baselines: Sequence[Row]) -> Figures:
    """Return the figures of searches with a real executor, and of the manual workflows."""
    gsm8k = by_arm(row for row in rows if row["task"] == "gsm8k")
    unguided = [arm for arm in gsm8k if not arm.endswith("w=0.5")]
    n = any_search(gsm8k)["n_test"]
    said = [f"`{arm}` {scored(mean(gsm8k, arm), n)}" for arm in unguided]
    said += [f"{each['name']} {scored(each['score'], each['n'])}" for each in baselines if each["task"] == "gsm8k"]
    best = max(gsm8k, key=lambda arm: mean(gsm8k, arm))
    plain = next(each for each in baselines if (each["task"], each["name"]) == ("gsm8k", "IO"))
    winners = gsm8k[STOCK].values()
    return {
        "real_searched": ", ".join(said[: len(unguided)]),
        "real_manual": ", ".join(said[len(unguided) :]),
        "gsm8k_best": scored(mean(gsm8k, best), any_search(gsm8k)["n_test"]),
        "gsm8k_plain": scored(plain["score"], plain["n"]),
        "winners": correlation([row["best_validate"] for row in winners], [row["test"] for row in winners]),
        "real_weights": ", ".join(gain(gsm8k, f"{name}, w=0.5", f"{name}, w=0") for name in NAMES),
    }


def any_search(arms: Arms) -> Any:
    """Return a search, to read what all have in common."""
    return next(row for found in arms.values() for row in found.values())
