# SPDX-License-Identifier: Apache-2.0
"""Hydra's `--multirun` with our launcher, on a program of the shape of verl's that trains nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aflow_env.sweep.launcher import group, identity, shorten, suffix, swept

CONFIG = {
    "defaults": ["_self_", {"override hydra/launcher": "aflow_process"}],
    "aflow": {"rl_weight": 0.5, "seed": 0, "lr": 1, "run_dir": "${trainer.default_local_dir}/search"},
    "trainer": {
        "experiment_name": "x-w${aflow.rl_weight}-s${aflow.seed}",
        "default_local_dir": "runs/${trainer.experiment_name}",
    },
}
PROGRAM = """
import json, os, sys
from pathlib import Path
import hydra

@hydra.main(config_path=".", config_name="config", version_base=None)
def main(config):
    folder = Path(config.trainer.default_local_dir)
    (folder / "seen.json").write_text(json.dumps([os.getpid(), os.environ["WANDB_RUN_GROUP"], config.aflow.lr]))
    if config.aflow.rl_weight == 1:
        raise RuntimeError("this weight does not work")

main()
"""

SWEEPER = """
from pathlib import Path
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class OwnSweeper(Sweeper):
    def __init__(self, **_):
        self.launcher = self.folder = None

    def setup(self, *, hydra_context, task_function, config):
        self.folder = Path(config.hydra.sweep.dir)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        returned = self.launcher.launch([arguments], initial_job_idx=0)
        (self.folder / "result").write_text(f"{len(returned)} returned")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "program.py", "--multirun", *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_every_job_is_a_process_with_its_own_folder_and_one_failure_is_told_at_the_end(program: Path) -> None:
    done = sweep(program, "aflow.rl_weight=0,1", "aflow.seed=1,2")
    assert done.returncode == 1
    assert "4 jobs: 2 done, 0 skipped, 2 failed" in done.stdout
    assert "this weight does not work" in done.stdout
    assert "Traceback" not in done.stderr
    assert "program.py" not in done.stderr
    names = sorted(path.name for path in (program / "runs").iterdir())
    assert names == ["x-w0-s1", "x-w0-s2", "x-w1-s1", "x-w1-s2"]
    seen = [json.loads((program / "runs" / name / "seen.json").read_text()) for name in names]
    assert len({pid for pid, _, _ in seen}) == 4
    assert {group for _, group, _ in seen} == {"rl_weight=0,1 seed=1,2"}
    assert (program / "runs" / "x-w0-s1" / "hydra" / ".hydra" / "overrides.yaml").is_file()
    again = sweep(program, "aflow.rl_weight=0,1", "aflow.seed=1,2")
    assert "4 jobs: 0 done, 2 skipped, 2 failed" in again.stdout


def test_a_swept_key_that_the_name_lacks_is_added_to_it(program: Path) -> None:
    done = sweep(program, "aflow.rl_weight=0", "aflow.lr=1,2")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (program / "runs").iterdir()) == ["x-w0-s0-lr=1", "x-w0-s0-lr=2"]


def test_a_sweeper_that_keeps_its_result_in_the_sweeps_folder_finds_one(program: Path) -> None:
    """As Optuna's does, which leaves making that folder to the launcher."""
    (program / "hydra_plugins").mkdir()
    (program / "hydra_plugins" / "own_sweeper.py").write_text(SWEEPER)
    done = sweep(
        program,
        "aflow.rl_weight=0",
        "hydra.sweeper._target_=hydra_plugins.own_sweeper.OwnSweeper",
        "hydra.sweep.dir=sweeps/first",
    )
    assert done.returncode == 0, done.stderr
    assert (program / "sweeps" / "first" / "result").read_text() == "1 returned"


def test_names_are_safe_for_a_folder_and_never_equal() -> None:
    assert suffix({"aflow.task.path": "/data/x y", "aflow/task": "gsm8k"}) == "-path=data_x_y-task=gsm8k"
    assert suffix({"a.lr": "1", "b.lr": "2"}) == "-a.lr=1-b.lr=2"
    assert len(shorten("a" * 500)) == 120
    assert shorten("a" * 500) != shorten("a" * 499 + "b")
    assert len(shorten("é" * 500).encode()) <= 120, "file systems count bytes"


def test_what_is_swept_is_what_the_command_did_not_fix() -> None:
    given = ["aflow.rl_weight=0,1", "aflow.seed=3", "on=false"]
    job = identity(["aflow.rl_weight=1", "aflow.seed=3", "on=False"])
    assert swept(job, given) == {"aflow.rl_weight": "1"}
    assert identity(["++a=1", "+b=2", "~c"]) == {"a": "1", "b": "2", "~c": ""}
    assert swept(identity(["++a=1", "+b=2"]), ["++a=1", "+b=2,3"]) == {"b": "2"}
    assert group([*given, "trainer.logger=[console,wandb]"]) == "rl_weight=0,1"


def test_one_folder_for_all_becomes_a_folder_each_and_one_store_for_all_is_refused(program: Path) -> None:
    done = sweep(program, "trainer.default_local_dir=here", "aflow.seed=1,2")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (program / "here").iterdir()) == ["x-w0.5-s1", "x-w0.5-s2"]
    refused = sweep(program, "++aflow.run_dir=here", "aflow.seed=1,2")
    assert refused.returncode == 1
    assert "aflow.run_dir" in refused.stderr
    assert "Traceback" not in refused.stderr
