# SPDX-License-Identifier: Apache-2.0
"""The closing report of a run: the best workflow as a folder, and a table of its scores on validate and test problems.

final_choice.py chooses among the stored workflows that led on validate problems and those that led on training
problems. The best of many has too high a validate score, so quote its test score. The table names a simulated executor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.table import Table

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted
from aflow_env.evaluation.results import Evaluation
from aflow_env.llm.budget import Spend
from aflow_env.screen import WIDTH, Screen, plural
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_choice import UNLIMITED, ClosingRuns, choose, held
from aflow_env.search.prediction.q import worth_of_q
from aflow_env.store.findings import front, front_lines, leaders, save_report, start_of
from aflow_env.workflow.aflow.aflow_workspace import write_workflow

CANDIDATES = 3
"""Leaders on validate problems, and as many on training problems."""


@dataclass(frozen=True)
class Report:
    """The table as text, 80 columns wide, and its figures as metrics."""

    text: str
    metrics: dict[str, float]


async def report(assembly: Assembly, version: str = "") -> Report:
    """Return the report of the assembly's store. It makes at most `final_calls` executor calls.

    `version` is as in `Evaluator.evaluate`. Raises BudgetExhausted when not even the start workflow can be scored.
    """
    config, store, name = assembly.config, assembly.store, assembly.task.spec.name
    calls = UNLIMITED if config.final_calls is None else config.final_calls
    evaluator = held(assembly.evaluator, calls, config.executor.timeout_seconds)
    weight = config.selection.cost_weight
    runs = ClosingRuns(evaluator, store, version, config.repeats, calls, config.sandbox.calls, weight)
    start = start_of(store, name) or assembly.start()
    leading = [each for each in leaders(store, name, CANDIDATES) if each.digest != start.digest]
    validate = assembly.pool("validate")
    tests = assembly.pool("test") if config.task.test_size and calls else ()
    reserve = min(calls // 2, len(tests) * config.repeats * max(map(runs.worst, [start, *leading])))
    chosen, seen = await choose(runs, start, leading, validate, config.limit or len(validate), reserve)
    if not seen:
        few = f"final_calls={calls} is too few: raise it"
        none = f"final_calls={calls} asks nothing, and no validation scored it: raise final_calls or problems.validate"
        why = runs.spent or (few if calls else none)
        raise BudgetExhausted(f"the start workflow cannot be scored at the end, because {why}")
    tested = await runs.advance([chosen], tests, runs.left)
    figures = {"start": runs.evaluation(start, validate[:seen]), "best": runs.evaluation(chosen, validate[:seen])}
    if tested:
        figures["test"] = runs.evaluation(chosen, tests[:tested])
    untested = "task.test_size=0" if not config.task.test_size else f"final_calls={calls} leaves no call"
    folder = Path(config.run_dir) / "best"
    write_workflow(chosen, folder)
    spent = assembly.budget.totals.spent
    metrics = {} if spent.unpriced else {"aflow/final/cost_usd": spent.usd}
    for of, known in figures.items():
        metrics |= _metrics(of, known)
    save_report(store, chosen.digest, {of: _figures(figures.get(of)) for of in ("start", "best", "test")})
    said = runs.spent.partition(":")[0] or untested
    rows = {
        "start, validate": _score(figures["start"]),
        "best, validate": _score(figures["best"]),
        "best, test": _score(figures["test"], len(tests)) if tested else f"not scored: {said}",
        "best workflow": f"{chosen.digest} in {folder}",
        "search's front": "\n".join(front_lines(front(store))),
    }
    return Report(table(config, rows, spent, worth_of_q(store, config)), metrics)


def at_most(config: AflowConfig, training: bool = False) -> str:
    """Say in a line of 80 columns what the end of a search or a training may cost."""
    runs, calls = most_runs(config, training), "no limit of executor calls"
    if config.final_calls is not None:  # a run that is paid for makes a call or more
        runs, calls = min(runs, config.final_calls), plural(config.final_calls, "executor call")
    return f"the end (choice and test): at most {plural(runs, 'run')}, {calls}: final_calls"


def most_runs(config: AflowConfig, training: bool = False) -> int:
    """Count the runs of workflows that the end makes at most: all stages of the choice, then the test."""
    validate, leaders = config.task.validate_size, 2 * CANDIDATES if training else min(CANDIDATES, config.rounds)
    seen = min(config.limit or validate, validate)
    runs = seen * (1 + leaders) if training else 0  # a search ran its leaders on these problems
    while leaders and seen < validate:
        fresh = min(seen, validate - seen)
        runs, seen = runs + fresh * (1 + leaders), seen + fresh
        leaders = -(-leaders // 2) if leaders > 1 else 0
    return (runs + config.task.test_size) * config.repeats


def table(config: AflowConfig, rows: Mapping[str, str], spent: Spend, q: str | None = None) -> str:
    """Return the closing table: the rows, the cost, and a line on Q."""
    simulated = config.executor.kind == "simulated"
    title = f"{config.task.name}, rl_weight={config.rl_weight}" + (", SIMULATED executor" if simulated else "")
    grid = Table(title=title, show_header=False, width=80)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    cost = f"{spent.money}{' (simulated prices)' if simulated else ''}, {plural(spent.tokens, 'token')}"
    for name, text in {**rows, "cost": cost, **({"Q(s, a)": q} if q else {})}.items():
        grid.add_row(name, text)
    out = StringIO()
    Screen(file=out, width=WIDTH).print(grid)
    return out.getvalue()


def _metrics(name: str, evaluation: Evaluation) -> dict[str, float]:
    low, high = evaluation.ci95
    figures = {"score": evaluation.score, "low": low, "high": high, "n": float(evaluation.n)}
    return {f"aflow/final/{name}_{figure}": value for figure, value in figures.items()}


def _figures(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return None if evaluation is None else {"score": evaluation.score, "ci95": list(evaluation.ci95), "n": evaluation.n}


def _score(evaluation: Evaluation, of: int = 0) -> str:
    """Return the score with its interval. `of` is the number of problems that there are."""
    low, high = evaluation.ci95
    some = f" (of {plural(of, 'problem')})" if of > evaluation.n else ""
    return f"{evaluation.score:.3f}  95% interval [{low:.3f}, {high:.3f}], n={evaluation.n}{some}"
