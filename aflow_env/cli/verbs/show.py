# SPDX-License-Identifier: Apache-2.0
"""`aflow-env show RUN`: a run explained. `aflow-env best RUN`: its best workflow, printed or copied."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from aflow_env.cli.arguments import AsJson, RunFolder, best_of, store_of
from aflow_env.cli.output import cost_text, outcomes_text, print_json, score_text
from aflow_env.screen import Screen, one_line, plural, say
from aflow_env.search.prediction.q import worth_of_q
from aflow_env.store.findings import (
    failed_cases,
    front,
    front_lines,
    last_report,
    overview,
    rejections,
    spent,
    stopped,
    workflows,
)
from aflow_env.store.settings import stored_config
from aflow_env.store.store import Store
from aflow_env.workflow.aflow.aflow_workspace import write_workflow

FAILED_SHOWN = 3
"""Failed cases of the best workflow."""
TEXT_SHOWN = 300
"""Characters of a scorer's text."""


def show(
    run: RunFolder,
    as_json: AsJson = False,
    top: Annotated[int, typer.Option(min=1, help="How many workflows to list, the best first.")] = 20,
) -> None:
    """List the nodes of a run, best first, why it stopped and what it cost."""
    with Store(store_of(run)) as store:
        found = overview(store)
        digest = found["best"]["digest"] if found["best"] else ""
        failed = failed_cases(store, FAILED_SHOWN, digest).get(digest, [])
        if as_json:
            print_json({**found, "failed": failed, "store": store.digest()})
            return
        screen = Screen()
        for line in _facts(store, found):
            screen.print(one_line(line))
        screen.print(_table(sorted(found["nodes"], key=lambda node: -node["score"])[:top]))
        for case in failed:
            said = case["feedback"] or case["error"] or f"answer {case['answer']!r}"
            screen.print(one_line(f"best failed {case['problem_id']}, {case['outcome']}: {said[:TEXT_SHOWN]}"))


def best(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Copy graph.py and prompt.py to this folder.")] = None,
    as_json: AsJson = False,
    fronts: Annotated[bool, typer.Option("--front", help="Print score against cost instead, no workflow.")] = False,
) -> None:
    """Print the best workflow of a run; its score is on the problems that it was chosen by."""
    with Store(store_of(run)) as store:
        node, workflow = best_of(store, run)
        if fronts:
            _say_front(store, as_json)
            return
    if out is not None:
        write_workflow(workflow, out)
    if as_json:
        folder = None if out is None else str(out)
        print_json({**node, "graph": workflow.graph, "prompts": workflow.prompts, "folder": folder})
        return
    say(f"# round {node['round']}, {score_text(node['score'], node['ci95'])}, n={node['n']}")
    say(f"# ---- graph.py\n{workflow.graph.rstrip()}\n\n# ---- prompt.py\n{workflow.prompts.rstrip()}")
    if out is not None:
        say(f"# copied to {out}")


def _say_front(store: Store, as_json: bool) -> None:
    """Print the workflows that no other beats in score and cost, the cheapest first."""
    found = front(store)
    unpriced = sum(each["usd_a_problem"] is None for each in workflows(store))
    if as_json:
        print_json({"front": found, "unpriced_workflows": unpriced})
        return
    for line in front_lines(found, len(found)):
        say(line)
    if found and unpriced:
        say(f"# left out, because a price is unknown: {plural(unpriced, 'workflow')}")


def _facts(store: Store, found: dict[str, Any]) -> list[str]:
    """Return the lines above the table."""
    config, best, said = stored_config(store), found["best"], last_report(store) or {}
    lines = []
    if config:
        guide = f", policy {config.policy.model}" if config.policy.base_url else ""
        executor = "SIMULATED executor" if config.executor.kind == "simulated" else f"executor {config.executor.model}"
        lines.append(f"{config.task.name}, {executor}, rl_weight={config.rl_weight}{guide}, seed={config.seed}")
    sessions = len(store.sessions())
    lines.append(
        f"{plural(len(found['nodes']), 'node')} and {plural(rejections(store), 'rejected proposal')} in "
        f"{plural(sessions, 'session')}, {cost_text(spent(store))}"
    )
    lines.extend(f"{session} stopped by: {why}" for session, why in list(stopped(store).items())[:3])
    if best:
        lines.append(f"best: round {best['round']}, {score_text(best['score'], best['ci95'])}, {best['digest']}")
        lines.append(f"its outcomes: {outcomes_text(best['outcomes'], best['truncated'])}")
    for name, what in (("best", "validate, at the end"), ("test", "test")):
        if figures := said.get(name):
            lines.append(f"{what}: {score_text(figures['score'], figures['ci95'])}, n={figures['n']}")
    if config and (q := worth_of_q(store, config)):
        lines.append(f"Q(s, a): {q}")
    return lines


def _table(nodes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    several = len({node["session"] for node in nodes}) > 1
    asked = any(node["q"] is not None for node in nodes)
    if several:
        table.add_column("session", overflow="fold")
    for name in ("round", "from", "score", "n") + ("predicted",) * asked:
        table.add_column(name, no_wrap=True)
    table.add_column("modification", overflow="fold")
    for node in nodes:
        low, high = node["ci95"]
        figures = [str(node["round"]), str(node["parent"] or "-"), f"{node['score']:.3f} [{low:.2f}, {high:.2f}]"]
        figures += [str(node["n"]), *("-" if node["q"] is None else f"{node['q']:.3f}",) * asked]
        table.add_row(*(node["session"],) * several, *figures, one_line(node["modification"]))
    return table
