# SPDX-License-Identifier: Apache-2.0
"""Any text in modification, prompt, answer, task and run names through every verb that shows a run.

The promise: no traceback, no markup, no control code, and 80 columns.
"""

import base64
import csv
import gzip
import io
import json
import os
import re
import shutil
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from aflow_env.cli import _say
from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.cli.progress import SearchProgress
from aflow_env.cli.verbs.watch import standing, view
from aflow_env.errors import ConfigError
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.llm.budget import Spend
from aflow_env.screen import Screen
from aflow_env.store.node_rows import Node, Rejection, storable
from aflow_env.store.settings import as_plain
from aflow_env.store.store import SessionKey, Store
from aflow_env.workflow.program import Workflow
from tests.cli.conftest import Command
from tests.report.runs import note
from tests.texts import ANY_TEXT, NASTY, PIECES, obeyed

pytest.importorskip("jinja2", reason="needs aflow-env[report]")
OPENAI = ("executor=openai", "executor.base_url=http://localhost:1/v1", "executor.model=m", "task=gsm8k")
CLI = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = st.one_of(st.sampled_from(PIECES), st.text(max_size=30))


class Tags(HTMLParser):
    """Counts the tags of a page, and keeps the attributes that browsers run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.found.extend(name for name, _ in attrs if name.startswith("on"))


def folder_name(text: str) -> str:
    """The text as a folder's name, as far as the file system takes it."""
    kept = "".join("_" if c in "/\0" else c for c in text).encode("utf-8", "replace").decode()
    return "run " + kept.encode()[:150].decode("utf-8", "ignore")


def stored_run(parent: Path, text: str, name: str) -> Path:
    """A run that ended, in which whatever others write is this text, and names are that name."""
    run = parent / folder_name(name)
    config = as_plain(load(OPENAI, UNGUIDED))
    config["task"]["name"] = config["executor"]["model"] = config["proposer"] = storable(name) or "none"
    config["proposer"] = "random"
    store = Store(run / "run.sqlite")
    key = SessionKey("problem", session=name.encode("utf-8", "replace").decode())
    store.set_meta("config", json.dumps(config))
    store.open_session(key, storable(name))
    for number in (1, 2):
        workflow = Workflow(f"class Workflow: ...  # {number} {text}", f"P = {text!r}\n{text}")
        told = {"answer": text, "error": text, "feedback": text, "trace": text}
        result = ProblemResult(storable(text), 0, Outcome.WRONG, problem_digest="d", **told)
        store.put_many(workflow.digest, "key", [result])
        evaluation = summarise(workflow.digest, "key", [result])
        store.record(key, Node(number, number - 1 or None, workflow, evaluation, text, text))
    store.record(key, Rejection(3, 1, text, text, text))
    store.set_state(key, {"stopped": f"rounds {storable(text)}"})
    store.close()
    figures = {"score": 0.5, "ci95": [0.0, 1.0], "n": 1}
    note(run, "report", {"digest": workflow.digest, "nodes": 2, "start": figures, "best": figures, "test": figures})
    return run


@pytest.fixture
def folder() -> Path:
    """A folder with a short path, so that a line with a path in it stays one line."""
    return Path(tempfile.mkdtemp())


@CLI
@given(text=ANY_TEXT, name=NAMES)
@example(text=NASTY, name="[/INST]\x1b]0;x\x07=1")
@example(text="[/INST] [/red] [answer] :free:", name="</script><b onclick=x>")
def test_verbs_show_any_text_as_text(aflow: Command, folder: Path, text: str, name: str) -> None:
    """Promise: show, best, watch, tree and progress print 80 columns of visible text; pages hold no tag of a text."""
    folder.mkdir(exist_ok=True)
    try:
        run = stored_run(folder, text, name)
        for verb in ("show", "watch", "best"):
            said = aflow(verb, run)
            assert said.status == 0, said.err
            assert not obeyed(said.out + said.err)
            if verb != "best":
                assert all(cell_len(line) <= 80 for line in said.out.split("\n"))
        shown = aflow("show", run, "--json")
        assert shown.out.isascii()
        assert shown.json["nodes"][1]["modification"] == storable(text)
        if "[answer]" in text and "\x1b" not in text:
            assert "[answer]" in aflow("show", run).out
        assert aflow("tree", run, "--out", folder / "tree.html").status == 0
        check_tree((folder / "tree.html").read_text(encoding="utf-8"))
    finally:
        shutil.rmtree(folder)


def check_tree(page: str) -> None:
    """The page has the tags of its template alone, and its data hold no code."""
    assert not obeyed(page)
    tags = Tags(page).found
    assert tags.count("script") == 3
    assert not {"img", "b onclick", "onerror", "onclick", "onmouseover"} & set(tags)
    [details] = re.findall(r'id="details">(.*?)</script>', page, re.DOTALL)
    packed = json.loads(gzip.decompress(base64.b64decode(details)))
    [nodes] = re.findall(r'id="nodes">(.*?)</script>', page, re.DOTALL)
    assert "<" not in nodes
    for value in strings([packed, json.loads(nodes)]):
        assert not obeyed(value)


def strings(value: object) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in strings(each)]
    return [text for each in value for text in strings(each)] if isinstance(value, list) else [str(value)]


@settings(CLI, max_examples=8)
@given(text=ANY_TEXT, name=NAMES)
@example(text=NASTY, name="=cmd|' /C calc'!A0")
@example(text=NASTY, name="$\\frac{\x1b[31m")
@example(text="", name="<img src=x onerror=alert(1)>")
def test_a_report_shows_any_text_as_text(aflow: Command, folder: Path, text: str, name: str) -> None:
    """Promise: table, page, CSV and JSON of runs with such names hold text alone, and no formula."""
    pytest.importorskip("matplotlib", reason="needs aflow-env[report]")
    folder.mkdir(exist_ok=True)
    try:
        for place, each in enumerate((name, text[:40])):
            stored_run(folder / str(place), text, each)
        files = ("--html", folder / "page.html", "--csv", folder / "table.csv")
        said = aflow("report", folder, *files, "--by", "task.name")
        assert said.status == 0, said.err
        assert not obeyed(said.out + said.err)
        assert all(cell_len(line) <= 80 for line in said.out.split("\n") if not line.startswith("written"))
        page = (folder / "page.html").read_text(encoding="utf-8")
        assert not obeyed(page)
        assert not {"script", "img", "onerror", "onclick", "onmouseover"} & set(Tags(page).found)
        table = (folder / "table.csv").read_text(encoding="utf-8")
        assert not obeyed(table)
        rows = list(csv.reader(io.StringIO(table)))
        assert {len(row) for row in rows} == {14}
        assert not [cell for row in rows[1:] for cell in row if cell.lstrip()[:1] in ("=", "+", "-", "@") and cell[:1]]
        assert aflow("report", folder, "--json").out.isascii()
    finally:
        shutil.rmtree(folder)


@given(text=ANY_TEXT)
@example(text=NASTY)
@CLI
def test_errors_progress_and_the_live_view_are_text(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Promise: a server's error, a line of progress and the view of `watch` hold no code of the text."""
    _say(ConfigError(text), 2)
    out = io.StringIO()
    with SearchProgress(1, Spend, Screen(file=out)) as progress:
        progress.note(text)
    store = Store(stored_run(tmp_path_factory.mktemp("live"), text, "x") / "run.sqlite")
    Screen(file=out).print(view(standing(store)))
    store.close()
    printed = capsys.readouterr()
    assert len(printed.err.strip("\n").split("\n")) == 1
    assert not obeyed(printed.out + printed.err + out.getvalue())
    assert all(cell_len(line) <= 80 for line in out.getvalue().split("\n"))


def test_a_screen_that_knows_ascii_alone_gets_escapes(finished: Path) -> None:
    """Promise: no encoding of stdout ends a verb with a traceback."""
    import subprocess
    import sys

    run = stored_run(finished.parent, "日本語 é", "é")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "aflow_env.cli", "show", str(run)]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"\\u65e5" in done.stdout
