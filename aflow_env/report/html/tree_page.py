# SPDX-License-Identifier: Apache-2.0
"""The interactive search tree of a run: one HTML file, drawn on a canvas, smooth at 10,000 nodes.

Scores, parents and one line of text for each node are plain JSON by column. Programs, prompts, edits and failed cases
are compressed and opened at the first click. Text of a model reaches the page as text, never as markup.
"""

import base64
import gzip
import json

from aflow_env.errors import ConfigError
from aflow_env.report.html import render
from aflow_env.screen import one_line, visible
from aflow_env.store.database import JSON, Reads
from aflow_env.store.findings import best_node, failed_cases, front
from aflow_env.store.settings import stored_config

FAILED_CASES = 5
"""Failed cases that are shown of a workflow."""
ANSWER_CHARACTERS = 300
"""Characters of an answer, and of a scorer's text."""
TRACE_CHARACTERS = 600
LINE_CHARACTERS = 160

_NODES = (
    *("session", "round", "parent", "program", "digest", "score", "low", "high", "n", "cost_usd", "calls", "outcomes"),
    *("modification", "reason", "edit", "payload", "truncated", "unpriced", "usd_a_problem"),
)


def tree_page(store: Reads, name: str) -> str:
    """Return the page of a run. Raises ConfigError for a run without a node."""
    config = stored_config(store)
    data = tree_data(store)
    texts = store.read("SELECT graph, prompts FROM programs ORDER BY rowid")
    programs = [[visible(graph), visible(prompts)] for graph, prompts in texts]
    failed = {digest: [*map(_failed, cases)] for digest, cases in failed_cases(store, FAILED_CASES).items()}
    details = {"programs": programs, "edits": data.pop("edits"), "failed": failed}
    packed = gzip.compress(json.dumps(details).encode(), 6, mtime=0)
    return render(
        "tree.html.j2",
        name=name,
        task=config.task.name if config else "",
        simulated=config is not None and config.executor.kind == "simulated",
        nodes=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # no string may end the <script>
        details=base64.b64encode(packed).decode(),
    )


def tree_data(store: Reads) -> dict[str, JSON]:
    """Return columns over all rounds; `parent` and `best` are places in the columns, -1 for none."""
    sql = f"SELECT {', '.join(_NODES)} FROM nodes ORDER BY step, session, round"
    rows = store.records(_NODES, sql)
    if not rows:
        raise ConfigError(f"{store.path.parent}: the run holds no round yet; go on with aflow-env resume")
    place = {(row["session"], row["round"]): at for at, row in enumerate(rows)}
    sessions = {session: at for at, session in enumerate(dict.fromkeys(row["session"] for row in rows))}
    programs = {row[0]: at for at, row in enumerate(store.read("SELECT id FROM programs ORDER BY rowid"))}
    best, on_front = best_node(store), {each["digest"] for each in front(store)}
    return {
        "sessions": [one_line(session) for session in sessions],
        "session": [sessions[row["session"]] for row in rows],
        **{name: [row[name] for row in rows] for name in ("round", "digest")},
        **{name: [_short(row[name]) for row in rows] for name in ("score", "low", "high")},
        **{name: [row[name] or 0 for row in rows] for name in ("n", "unpriced", "truncated", "calls")},
        "parent": [-1 if row["parent"] is None else place[row["session"], row["parent"]] for row in rows],
        "program": [programs.get(row["program"], -1) for row in rows],
        "cost": [round(row["cost_usd"] or 0.0, 9) for row in rows],
        "usd": [_short(row["usd_a_problem"], 9) for row in rows],
        "q": [_short((json.loads(row["payload"] or "null") or {}).get("q")) for row in rows],
        "outcomes": [json.loads(row["outcomes"] or "{}") for row in rows],
        "text": [_line(row["modification"]) for row in rows],
        "reason": [_line(row["reason"] or "") for row in rows],
        "edits": [visible(row["edit"]) for row in rows],
        "front": [int(row["digest"] in on_front) for row in rows],
        "best": place[best["session"], best["round"]] if best else -1,
    }


def _failed(case: dict[str, str]) -> list[str]:
    """Return [problem, outcome, answer or error, feedback, steps]."""
    said = (case["error"] or case["answer"])[:ANSWER_CHARACTERS]
    more = case["feedback"][:ANSWER_CHARACTERS], case["trace"][:TRACE_CHARACTERS]
    return [visible(text) for text in (case["problem_id"], case["outcome"], said, *more)]


def _short(value: float | None, digits: int = 5) -> float | None:
    return round(value, digits) if value is not None else None


def _line(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= LINE_CHARACTERS else f"{text[: LINE_CHARACTERS - 1]}…"
