# SPDX-License-Identifier: Apache-2.0
"""Print figures: for people in 80 columns, for programs as JSON with stable names."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aflow_env.evaluation.results import COUNTED, Evaluation
from aflow_env.llm.budget import Spend
from aflow_env.llm.prices import PICO
from aflow_env.screen import one_line, plural


def print_json(value: dict[str, Any]) -> None:
    """Print the one object of `--json` on stdout, in ASCII."""
    print(json.dumps(value))


def evaluation_object(evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures of an evaluation that every verb prints with `--json`."""
    return {
        "score": evaluation.score,
        "ci95": list(evaluation.ci95),
        "n": evaluation.n,
        "outcomes": evaluation.outcomes,
        "truncated": evaluation.truncated,
        "cost_usd": evaluation.cost_usd,
        "unpriced": evaluation.unpriced,
        "tokens": {"input": evaluation.input_tokens, "output": evaluation.output_tokens},
    }


def evaluation_text(evaluation: Evaluation, simulated: bool) -> str:
    """Return an evaluation in a few lines, with its first error."""
    tokens = evaluation.input_tokens + evaluation.output_tokens
    bill = Spend(round(evaluation.cost_usd * PICO), calls=evaluation.calls, unpriced=evaluation.unpriced)
    lines = [
        f"{score_text(evaluation.score, evaluation.ci95)}, n={evaluation.n}",
        outcomes_text(evaluation.outcomes, evaluation.truncated),
        f"{cost_text(bill)}, {plural(tokens, 'token')}" + (" (SIMULATED executor)" if simulated else ""),
    ]
    errors = [result for result in evaluation.results if result.error]
    if errors:
        first = one_line(errors[0].error)
        lines.append(f"problem {errors[0].problem_id}, {errors[0].outcome}: {first[:300]}")
    if lost := sum(result.outcome not in COUNTED for result in evaluation.results):
        lines.append(f"{plural(lost, 'run')} lost to failures of the world, in no mean")
    return "\n".join(lines)


def outcomes_text(outcomes: Mapping[str, int], truncated: int) -> str:
    """Return the count of each outcome, and of the replies that were cut at max_tokens."""
    counts = [f"{name} {count}" for name, count in sorted(outcomes.items())]
    return ", ".join([*counts, *[f"{plural(truncated, 'reply', 'replies')} truncated"] * (truncated > 0)])


def cost_text(bill: Spend) -> str:
    """Return the cost in USD, or that it is unknown."""
    return "cost unknown" if bill.money == "unknown" else bill.money


def score_text(score: float, ci95: Sequence[float]) -> str:
    """Return a score with its interval."""
    return f"{score:.3f}  95% interval [{ci95[0]:.3f}, {ci95[1]:.3f}]"
