# SPDX-License-Identifier: Apache-2.0
"""Overrides as people type them: taken, or refused in one sentence that says the right form."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aflow_env.cli import at_home
from aflow_env.cli.arguments import search_config
from aflow_env.cli.compose import assigned, values
from aflow_env.errors import ConfigError
from tests.cli.conftest import Command

KEYS = st.sampled_from(
    ("rounds", "seed", "task", "policy", "task.path", "run_dir", "budget.usd", "q", "~q", "+x", "", "a@b")
)
TYPED = st.text("0123456789-+.eE[]{}()'\"\\$:,=~/ aé\n%", max_size=12)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=100000000000000000000000000", "seed=100000000000000000000000000: input should be less than"),
        ("budget.usd=inf", "budget.usd=inf: input should be a finite number"),
        ("budget.usd=1e300", "budget.usd=1e+300: input should be less than or equal to 1000000"),
        ("sandbox.wall_seconds=nan", "sandbox.wall_seconds=nan: input should be"),
        ("task.path=${oc.env:NOPE}", "task.path does not resolve"),
        ("rounds=${rounds}", "rounds does not resolve"),
        ("=5", "=5: there is no key before the =; write it as key=value"),
        ("rounds", "rounds: write it as key=value"),
        ("rounds=1,2", "rounds=1,2: only `aflow-env sweep` takes several values"),
        ("task.path=/data/é", "quote it, \"task.path='/data/é'\""),
        ("rounds=[1", "rounds=[1: Hydra cannot read this value"),
        (f"rounds={'1' * 5000}", "Hydra cannot read this value"),
        ("rounds=100000000000000000000", "rounds=100000000000000000000: input should be less than or equal to 1000000"),
        ("task.validate_size=100000000000", "task.validate_size=100000000000: input should be less"),
        ("sandbox.memory_mb=100000000000000", "sandbox.memory_mb=100000000000000: input should be less"),
        ("run_dir=", "run_dir='': string should have at least 1 character"),
        ("run_dir=5", "run_dir=5: a number, where a text belongs; quote it for Hydra: \"run_dir='...'\""),
        ("task=5", "Config group override must be a string or a list"),
        ("policy=5", "policy=5"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(aflow: Command, tmp_path: Path, override: str, said: str) -> None:
    """Promise: each of these names the key, the value and the right form, and nothing is written."""
    ended = aflow("search", assigned("run_dir", tmp_path / "run"), override)
    assert ended.status == 2
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(key=KEYS, value=TYPED)
def test_any_override_is_taken_or_refused(key: str, value: str) -> None:
    """Promise: whatever is typed makes a config or a ConfigError, never another exception."""
    with contextlib.suppress(ConfigError):
        assert search_config([f"{key}={value}"]).rounds > 0


@given(st.text().filter(lambda text: "${" not in text and not any("\ud800" <= c <= "\udfff" for c in text)))
def test_an_assigned_text_is_read_back(text: str) -> None:
    """Promise: a path with quotes, backslashes or any letter reaches the config as it is."""
    assert values([assigned("run_dir", text)]) == {"run_dir": text}


def test_a_tilde_is_the_home_wherever_a_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: `~` means the home in options, in overrides and in quoted overrides; Hydra's `~key` stays."""
    monkeypatch.setenv("HOME", "/home/me")
    typed = ["~/run", "--out=~/x", "task.path=~/data", "~rounds", "a~/b", "key=~"]
    assert [at_home(each) for each in typed] == [
        *("/home/me/run", "--out=/home/me/x", "task.path=/home/me/data", "~rounds", "a~/b", "key=/home/me"),
    ]
    config = search_config(["run_dir='~/run'", "task.path='~/data'"])
    assert (config.run_dir, config.task.path) == ("/home/me/run", "/home/me/data")


@pytest.mark.parametrize("verb", ["best", "export", "report", "tree", "standalone"])
@pytest.mark.parametrize("bad", ["folder", "below a file", "long"])
def test_a_bad_place_is_one_sentence(aflow: Command, finished: Path, tmp_path: Path, verb: str, bad: str) -> None:
    """Promise: a file that cannot be written is named with the system's reason, and the status is 2."""
    (tmp_path / "file").touch()
    places = {"folder": tmp_path, "below a file": tmp_path / "file" / "x", "long": tmp_path / ("x" * 300)}
    if bad == "folder" and verb in ("best", "export"):
        pytest.skip("a folder is what it writes to")
    options = {"report": ("--html",), "standalone": ("--standalone", "--out")}.get(verb, ("--out",))
    said = aflow({"standalone": "export"}.get(verb, verb), finished, *options, places[bad])
    assert said.status == 2
    assert "cannot be written" in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("bad", ["file", "below a file", "long"])
def test_a_bad_run_dir_is_one_sentence(aflow: Command, tmp_path: Path, bad: str) -> None:
    """Promise: `run_dir` that is a file, lies below one, or is too long is the user's error."""
    (tmp_path / "file").touch()
    places = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "x", "long": tmp_path / ("x" * 300)}
    said = aflow("search", assigned("run_dir", places[bad]))
    assert said.status == 2
    assert f"run_dir={places[bad]} cannot be written" in said.err


def test_a_run_of_another_version_says_so(aflow: Command, finished: Path, tmp_path: Path) -> None:
    """Promise: unknown keys in a stored config and another schema are one sentence in every verb that reads a run."""
    import json
    import shutil
    import sqlite3
    from contextlib import closing

    old, new = (Path(shutil.copytree(finished, tmp_path / name)) for name in ("old", "new"))
    with closing(sqlite3.connect(old / "run.sqlite")) as database, database:
        [(text,)] = database.execute("SELECT value FROM meta WHERE key = 'config'")
        config = json.dumps(json.loads(text) | {"old_key": 3})
        database.execute("UPDATE meta SET value = ? WHERE key = 'config'", (config,))
        database.execute("DELETE FROM events WHERE kind = 'config'")
    with closing(sqlite3.connect(new / "run.sqlite")) as database, database:
        database.execute("PRAGMA user_version = 9")
    for verb in ("show", "report", "tree", "watch"):
        for run, part in ((old, "not one of this version of aflow_env (old_key=3"), (new, "aflow_env")):
            said = aflow(verb, run)
            assert said.status == 2
            assert part in said.err
            assert str(run) in said.err
            assert len(said.err.strip().splitlines()) == 1


def test_a_stored_config_takes_one_value_a_key(aflow: Command, finished: Path) -> None:
    """Promise: `resume` refuses several values of a key as `search` does."""
    said = aflow("resume", finished, "seed=range(1,3)")
    assert (said.status, "only `aflow-env sweep` takes several values" in said.err) == (2, True)


@pytest.mark.parametrize(
    "words", [("plan", "--calls", "inf"), ("watch", ".", "--every", "inf"), ("serve", ".", "--request-usd", "inf")]
)
def test_an_endless_number_is_refused_with_its_option(aflow: Command, words: tuple[str, ...]) -> None:
    """Promise: infinity is no number of an option."""
    said = aflow(*words)
    assert said.status == 2
    assert words[-2] in said.err


@pytest.mark.parametrize("words", [("show",), ("show", "--json"), ("best",)])
def test_a_full_disk_behind_stdout_is_one_sentence(finished: Path, words: tuple[str, ...]) -> None:
    """Promise: output that cannot be written has status 3 and no traceback, at the end of the process too."""
    command = [sys.executable, "-m", "aflow_env.cli", words[0], str(finished), *words[1:]]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("aflow-env: the output cannot be written: No space left on device")
    assert len(done.stderr.strip().splitlines()) == 1
