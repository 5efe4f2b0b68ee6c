# SPDX-License-Identifier: Apache-2.0
"""What a run gained: the best workflow it found, scored where it was not chosen, as a table and a folder.

The best workflow is chosen by its score on the validate problems, among the best that the store holds: those that led
there, and those that led on training problems, where a training finds most of what it finds. Choosing the best of many
flatters that score; the test score is what to quote. A simulated executor is named as such.
"""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.table import Table

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted
from aflow_env.evaluation.results import Evaluation
from aflow_env.llm.ledger import Spend
from aflow_env.screen import WIDTH, Screen
from aflow_env.search.assemble import Assembly
from aflow_env.search.prediction.worth import worth_of_q
from aflow_env.store.findings import leaders, save_report, start_of
from aflow_env.workflow.aflow.aflow_folder import write_workflow
from aflow_env.workflow.program import Workflow

CANDIDATES = 3
"""Of each kind of leader."""


@dataclass(frozen=True)
class Report:
    """The table as text, 80 columns wide, and the same numbers as metrics."""

    text: str
    metrics: dict[str, float]


async def report(assembly: Assembly, version: str = "") -> Report:
    """The report of whatever the assembly's store holds; a spent budget leaves out what it cannot pay.

    `version` names the executor's weights where they change (a policy in training), as in `Evaluator.evaluate`.
    Raises BudgetExhausted when not even the start workflow can be scored.
    """
    config = assembly.config
    validate = assembly.pool("validate")
    start_workflow = start_of(assembly.store, assembly.task.spec.name) or assembly.start()
    start = await assembly.evaluator.evaluate(start_workflow, validate, repeats=config.repeats, version=version)
    best_workflow, best = start_workflow, start
    test, untested = None, "final_test=false or no test problems"
    try:
        for workflow in leaders(assembly.store, assembly.task.spec.name, CANDIDATES):
            evaluation = await assembly.evaluator.evaluate(workflow, validate, repeats=config.repeats, version=version)
            if evaluation.score > best.score:
                best_workflow, best = workflow, evaluation
        if config.final_test and config.task.test_size:
            test = await assembly.evaluator.evaluate(
                best_workflow, assembly.pool("test"), repeats=config.repeats, version=version
            )
    except BudgetExhausted:
        untested = "the budget is spent"
    folder = Path(config.run_dir) / "best"
    write_workflow(best_workflow, folder)
    spent = assembly.budget.totals.spent
    metrics = {"aflow/final/cost_usd": spent.usd}
    for name, known in (("start", start), ("best", best), ("test", test)):
        metrics |= _metrics(name, known) if known else {}
    figures = {"start": _figures(start), "best": _figures(best), "test": _figures(test) if test else None}
    save_report(assembly.store, best_workflow.digest, figures)
    q = worth_of_q(assembly.store, config)
    return Report(table(config, start, best, test, best_workflow, folder, spent, untested, q), metrics)


def table(
    config: AflowConfig,
    start: Evaluation,
    best: Evaluation,
    test: Evaluation | None,
    workflow: Workflow,
    folder: Path,
    spent: Spend,
    untested: str,
    q: str | None = None,
) -> str:
    """The closing table."""
    simulated = config.executor.kind == "simulated"
    title = f"{config.task.name}, rl_weight={config.rl_weight}" + (", SIMULATED executor" if simulated else "")
    grid = Table(title=title, show_header=False, width=80)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("start, validate", _score(start))
    grid.add_row("best, validate", _score(best))
    grid.add_row("best, test", _score(test) if test else f"not scored: {untested}")
    grid.add_row("best workflow", f"{workflow.digest} in {folder}")
    grid.add_row("cost", f"{spent.money}{' (simulated prices)' if simulated else ''}, {spent.tokens:,} tokens")
    if q:
        grid.add_row("Q(s, a)", q)
    out = StringIO()
    Screen(file=out, width=WIDTH).print(grid)
    return out.getvalue()


def _metrics(name: str, evaluation: Evaluation) -> dict[str, float]:
    low, high = evaluation.ci95
    figures = {"score": evaluation.score, "low": low, "high": high, "n": float(evaluation.n)}
    return {f"aflow/final/{name}_{figure}": value for figure, value in figures.items()}


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return {"score": evaluation.score, "ci95": list(evaluation.ci95), "n": evaluation.n}


def _score(evaluation: Evaluation) -> str:
    low, high = evaluation.ci95
    return f"{evaluation.score:.3f}  95% interval [{low:.3f}, {high:.3f}], n={evaluation.n}"
