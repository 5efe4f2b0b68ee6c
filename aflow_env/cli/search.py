# SPDX-License-Identifier: Apache-2.0
"""`aflow-env search` and `aflow-env evaluate`: the search engine without a trainer."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.results import Evaluation
from aflow_env.search.assemble import Assembly
from aflow_env.search.report import report
from aflow_env.search.rounds import SearchProblem, Session, Turn, session_seed
from aflow_env.search.store import SessionKey
from aflow_env.workflow.aflow_folder import read_workflow

Overrides = Annotated[list[str] | None, typer.Argument(help="key=value of the aflow: node, Hydra's grammar")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]

log = Console(stderr=True)


def search(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Search for a better workflow; run the same command again to go on where it stopped."""
    # A search alone has no trained policy: unless the user names one, it is AFlow with uniform edits.
    config = load(overrides or (), defaults=("rl_weight=0", "q.kind=none", "proposer=random"))
    if config.rl_weight > 0 and config.policy.base_url is None:
        raise ConfigError(
            f"rl_weight={config.rl_weight} needs a policy, and policy.base_url is not set: serve a checkpoint (vllm "
            "serve DIR) "
            "and name its address, or set rl_weight=0"
        )
    text, found = asyncio.run(_search(config))
    print(json.dumps(found) if as_json else text)


async def _search(config: AflowConfig) -> tuple[str, dict[str, Any]]:
    assembly = await Assembly.open(config)
    try:
        session = await assembly.search(assembly.proposer(), None, "validate").play(
            SearchProblem(
                key=SessionKey(config.task.name, config.seed),
                seed=session_seed(config.seed),
                start=assembly.start(),
            ),
            _tell,
        )
        closing = await report(assembly)
        best = session.tree.best()
        return closing.text, {
            "best": best.round,
            "score": best.score,
            "ci95": list(best.evaluation.ci95),
            "nodes": len(session.tree),
            "stopped": session.stopped,
            "cost_usd": assembly.budget.totals.spent.usd,
        }
    finally:
        await assembly.aclose()


def _tell(session: Session, turn: Turn) -> None:
    ended = turn.ended
    score = f"{turn.node.score:.3f}" if turn.node else f"rejected: {ended.reason}"  # type: ignore[union-attr]
    best = session.tree.best().score
    log.print(
        f"round {ended.round:>3}  from {ended.parent}  {score}  best {best:.3f}  {ended.modification}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def evaluate(
    directory: Annotated[Path, typer.Argument(help="Folder with graph.py and prompt.py.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score a workflow on the validate problems."""
    if not (directory / "graph.py").is_file():
        raise ConfigError(f"{directory}: there is no graph.py in that folder; name a workflow folder")
    config = load(overrides or (), defaults=("rl_weight=0", "q.kind=none"))
    evaluation, layers = asyncio.run(_evaluate(config, directory))
    print(json.dumps(as_object(evaluation, layers)) if as_json else as_text(evaluation))


async def _evaluate(config: AflowConfig, directory: Path) -> tuple[Evaluation, tuple[str, ...]]:
    assembly = await Assembly.open(config)
    try:
        evaluation = await assembly.evaluator.evaluate(
            read_workflow(directory), assembly.problems("validate"), repeats=config.repeats
        )
        return replace(evaluation, results=list(evaluation.results)), assembly.sandbox.layers
    finally:
        await assembly.aclose()


def as_object(evaluation: Evaluation, layers: tuple[str, ...]) -> dict[str, Any]:
    """What `--json` prints; the names are an interface."""
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
                "answer": result.answer[:200],
                "seconds": result.seconds,
            }
            for result in evaluation.results
        ],
    }


def as_text(evaluation: Evaluation) -> str:
    """Two lines for people."""
    low, high = evaluation.ci95
    outcomes = ", ".join(f"{name} {count}" for name, count in evaluation.outcomes.items())
    return (
        f"{evaluation.score:.3f}  95% interval [{low:.3f}, {high:.3f}], n={evaluation.n}\n"
        f"{outcomes}; {evaluation.cost_usd:.4f} USD, {evaluation.input_tokens + evaluation.output_tokens:,} tokens"
    )
