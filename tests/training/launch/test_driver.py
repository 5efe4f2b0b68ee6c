# SPDX-License-Identifier: Apache-2.0
"""verl's own command line, unmodified: it finds our configs from anywhere, and our checks speak before Ray does."""

import subprocess
import sys
from pathlib import Path

import pytest

from aflow_env.plugin import has_gpu

pytest.importorskip("verl", reason="needs verl: make setup")

CHECKOUT = Path(__file__).resolve().parents[3]


def main_ppo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "verl.trainer.main_ppo", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_the_config_is_found_from_any_folder(tmp_path: Path) -> None:
    done = main_ppo(tmp_path, "--config-name", "aflow_gigpo", "--cfg", "job", "aflow.rl_weight=0.25")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "rl_weight: 0.25" in done.stdout
    assert "adv_estimator: gigpo" in done.stdout


def test_the_checkouts_folder_can_be_named(tmp_path: Path) -> None:
    where = str(CHECKOUT / "conf")
    done = main_ppo(tmp_path, "--config-dir", where, "--config-name", "aflow_gigpo_cpu", "--cfg", "job")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "device: cpu" in done.stdout


def test_the_entry_point_can_be_pickled_with_our_checks_around_it() -> None:
    """Launchers for clusters send it to other machines; what they find there is checked again."""
    import cloudpickle
    from verl.utils import config

    assert config.validate_config.__wrapped__.__module__ == "verl.utils.config"
    assert cloudpickle.loads(cloudpickle.dumps(config.validate_config)) is config.validate_config


def test_a_config_has_the_tiny_policy_of_its_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another task's policy writes 1 valid edit of 20. A user's own task has that of the embedded one.

    A run that names its policy builds none: OmegaConf resolves a value that a config file overrides.
    """
    import omegaconf

    from aflow_env.cli.verbs.training import composed
    from aflow_env.training.launch.driver import register_resolvers
    from aflow_env.training.tiny_policy import build

    built = []
    monkeypatch.setattr(build, "cached_policy", lambda seed=0, task="": built.append(task) or Path(task))
    register_resolvers(omegaconf)
    for given, task in (([], "arithmetic"), (["aflow/task=gsm8k"], "gsm8k"), (["aflow/task=own"], "arithmetic")):
        assert composed("aflow_gigpo_cpu", given).actor_rollout_ref.model.path == task
    assert composed("aflow_gigpo_cpu_table", []).actor_rollout_ref.model.path == "mbpp"
    assert built == ["arithmetic", "gsm8k", "arithmetic", "mbpp"]
    for name in ("aflow_gigpo_cpu", "aflow_gigpo_cpu_real"):
        assert composed(name, ["actor_rollout_ref.model.path=x"]).actor_rollout_ref.model.path == "x"
    assert len(built) == 4
    register_resolvers(omegaconf)  # drops the cached answers


def test_a_mistake_ends_in_one_paragraph_before_ray_starts(tmp_path: Path) -> None:
    policy = "actor_rollout_ref.model.path=/nowhere"
    done = main_ppo(tmp_path, "--config-name", "aflow_gigpo_cpu", policy, "aflow.rl_weight=2")
    assert done.returncode == 1
    assert "aflow_env: aflow.rl_weight=2" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ray init kwargs" not in done.stdout


def test_a_run_for_gpus_on_a_machine_without_one_ends_before_ray_starts(tmp_path: Path) -> None:
    """Promise: the command of the README says what to do here, where Ray would wait for a GPU for ever."""
    if has_gpu():
        pytest.skip("this machine has an accelerator")
    done = main_ppo(tmp_path, "--config-name", "aflow_gigpo", "aflow.rl_weight=0.5")
    assert done.returncode == 1
    assert "aflow_env: trainer.device=cuda, but this machine has no accelerator" in done.stderr
    assert "--config-name aflow_gigpo_cpu" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ray init kwargs" not in done.stdout
    assert not list(tmp_path.rglob("run.sqlite")), "a run that is refused leaves no store"
