# SPDX-License-Identifier: Apache-2.0
"""How figures are printed: for people in 80 columns, for programs as JSON whose names are an interface."""

import json
from collections.abc import Sequence
from typing import Any

from aflow_env.evaluation.results import COUNTED, Evaluation
from aflow_env.screen import one_line

ANSWER_CHARACTERS = 200


def print_json(value: dict[str, Any]) -> None:
    """Print the one object that `--json` puts on stdout, in ASCII."""
    print(json.dumps(value))


def evaluation_object(evaluation: Evaluation, layers: Sequence[str]) -> dict[str, Any]:
    """An evaluation, as `evaluate --json` prints it."""
    return {
        "score": evaluation.score,
        "ci95": list(evaluation.ci95),
        "n": evaluation.n,
        "outcomes": evaluation.outcomes,
        "cost_usd": evaluation.cost_usd,
        "tokens": {"input": evaluation.input_tokens, "output": evaluation.output_tokens},
        "sandbox": list(layers),
        "problems": [
            {
                "id": result.problem_id,
                "outcome": str(result.outcome),
                "answer": result.answer[:ANSWER_CHARACTERS],
                "seconds": result.seconds,
            }
            for result in evaluation.results
        ],
    }


def evaluation_text(evaluation: Evaluation, simulated: bool) -> str:
    """An evaluation in a few lines, with the first error where something did not end well."""
    tokens = evaluation.input_tokens + evaluation.output_tokens
    lines = [
        f"{score_text(evaluation.score, evaluation.ci95)}, n={evaluation.n}",
        ", ".join(f"{name} {count}" for name, count in evaluation.outcomes.items()),
        f"{evaluation.cost_usd:.4f} USD, {tokens:,} tokens" + (" (SIMULATED executor)" if simulated else ""),
    ]
    errors = [result for result in evaluation.results if result.error]
    if errors:
        first = one_line(errors[0].error)
        lines.append(f"problem {errors[0].problem_id}, {errors[0].outcome}: {first[:300]}")
    if lost := sum(result.outcome not in COUNTED for result in evaluation.results):
        lines.append(f"{lost} runs were lost to failures of the world and are in no mean")
    return "\n".join(lines)


def score_text(score: float, ci95: Sequence[float]) -> str:
    """A score with its interval."""
    return f"{score:.3f}  95% interval [{ci95[0]:.3f}, {ci95[1]:.3f}]"
