# SPDX-License-Identifier: Apache-2.0
"""Every verb where `pip install aflow-env` alone was run: it works, or says in one line what to install."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from aflow_env.cli import app
from tests.cli.conftest import SMALL

SITE = """
import os, sys
GONE, ABSENT = (frozenset(os.environ[name].split()) for name in ("GONE", "ABSENT"))

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *arguments):
        return None if name.partition(".")[0] in GONE else self.finder.find_spec(name, *arguments)
    def find_distributions(self, *arguments):
        find = getattr(self.finder, "find_distributions", lambda *_: ())
        return [each for each in find(*arguments) if each.name not in ABSENT]

sys.meta_path[:] = map(Without, sys.meta_path)
"""
"""Hides modules and distributions from a process and from those that it starts."""
DRIVER = """
import io, json, sys, traceback
from contextlib import redirect_stderr, redirect_stdout
from aflow_env.cli import main

said = {}
for name, arguments in json.load(sys.stdin).items():
    sys.argv, text, status = ["aflow-env", *arguments], io.StringIO(), 0
    with redirect_stdout(text), redirect_stderr(text):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
    said[name] = status, text.getvalue()
json.dump(said, sys.stdout)
"""
MISSING = {
    "plan": "verl is not installed",
    "data": "torch is not installed",
    "model tiny": "torch is not installed",
    "export-policy": "verl is not installed",
    "serve": "aflow-env[serve]",
    "tree": "aflow-env[report]",
}
"""The verbs that need more than the package's own requirements, and what each says."""


def base() -> set[str]:
    """Return the distributions that `pip install aflow-env` brings."""
    found, todo = set[str](), [("aflow-env", "")]
    while todo:
        name, extra = todo.pop()
        if name in found and not extra:
            continue
        found.add(name)
        for text in requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(needed.name), each) for each in ("", *needed.extras)]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that sees only what `pip install aflow-env` brings."""
    kept, site = base(), tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(SITE)
    gone = [name for name, by in packages_distributions().items() if not kept & set(map(canonicalize_name, by))]
    absent = {each.name for each in distributions()}
    absent = {name for name in absent if canonicalize_name(name) not in kept}
    assert {"torch", "verl", "ray", "transformers", "pyarrow", "jinja2", "psutil"}.isdisjoint(kept)
    return os.environ | {"PYTHONPATH": str(site), "GONE": " ".join(gone), "ABSENT": " ".join(absent)}


def checkpoint(folder: Path) -> Path:
    """Return the run folder of a training with what `export-policy` looks for before it needs a library."""
    actor = folder / "global_step_1" / "actor"
    (actor / "huggingface").mkdir(parents=True)
    (actor / "fsdp_config.json").write_text('{"world_size": 1}')
    (actor / "huggingface" / "config.json").write_text("{}")
    with zipfile.ZipFile(actor / "model_world_size_1_rank_0.pt", "w"):
        pass
    (folder / "latest_checkpointed_iteration.txt").write_text("1")
    return folder


def tried(
    verbs: Mapping[str, Sequence[object]], folder: Path, environment: dict[str, str]
) -> dict[str, tuple[int, str]]:
    """Run verbs one after the other in one process; return the status and the text of each."""
    asked = {name: [*name.split(), *map(str, arguments)] for name, arguments in verbs.items()}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: (status, text) for name, (status, text) in json.loads(done.stdout).items()}


def test_every_verb_works_or_says_what_to_install(alone: dict[str, str], tmp_path: Path) -> None:
    """No verb of `aflow-env --help` ends in a traceback, whatever is not installed."""
    run, own = tmp_path / "run", tmp_path / "own"
    source = tmp_path / "in.jsonl"
    source.write_text('{"problem": "What is 2 + 3?"}\n')
    verbs = {
        "search": [f"run_dir={run}", "rounds=2", *SMALL],
        "resume": [run, "rounds=3"],
        "show": [run],
        "best": [run],
        "evaluate": [run / "best", *SMALL, f"run_dir={tmp_path / 'evaluated'}"],
        "test": [run, "repeats=1"],
        "baselines": ["--only", "IO", *SMALL, f"run_dir={tmp_path / 'baselines'}"],
        "export": [run, "--out", tmp_path / "workspace"],
        "import": [tmp_path / "workspace", "--out", tmp_path / "imported"],
        "report": [run],
        "tree": [run, "--out", tmp_path / "tree.html"],
        "watch": [run],
        "init": [own],
        "run": [run, "--input", source, "--output", tmp_path / "out.jsonl"],
        "serve": [run],
        "sweep": ["seed=1", "rounds=1", "final_calls=0", *SMALL, "--out", tmp_path / "sweep"],
        "plan": [],
        "data": ["--out", tmp_path / "data"],
        "model tiny": ["--out", tmp_path / "tiny"],
        "export-policy": [checkpoint(tmp_path / "training"), "--out", tmp_path / "policy"],
        "doctor": [],
    }
    said = tried(verbs, tmp_path, alone)
    assert {name.split()[0] for name in said} == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    expected = dict.fromkeys(verbs, 0) | {"doctor": 1} | dict.fromkeys(MISSING, 2)
    assert {name: status for name, (status, _) in said.items()} == expected, said
    assert not [name for name, (_, text) in said.items() if "Traceback" in text]
    for name, library in MISSING.items():
        [line] = said[name][1].splitlines()
        assert library in line
        assert "pip install" in line


def test_a_plan_needs_the_yaml_of_verl_alone(alone: dict[str, str], tmp_path: Path) -> None:
    """It is arithmetic: a machine without torch plans a run of eight GPUs.

    The policy of `aflow_gigpo_cpu` is one that torch builds, so that plan says what to install.
    """
    if find_spec("verl") is None:
        pytest.skip("needs verl: make setup")
    environment = alone | {"GONE": " ".join({*alone["GONE"].split()} - {"verl"}), "AFLOW_CACHE": str(tmp_path)}
    verbs = {"plan": ["recipe_7b_eight_80gb", "--json"], "plan ": ["aflow_gigpo_cpu"]}
    (planned, refused) = tried(verbs, tmp_path, environment).values()
    assert planned[0] == 0, planned
    assert json.loads(planned[1])["gpus"] == 8
    assert refused[0] == 2
    assert "torch is not installed, and training needs it" in refused[1]
