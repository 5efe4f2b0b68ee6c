# SPDX-License-Identifier: Apache-2.0
"""Hydra's launcher `aflow_process`, one process a job. The code is in aflow_env.sweep.launcher.

Every Hydra program on the machine imports this module, so it imports nothing of ours until a sweep starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


@dataclass
class ProcessLauncherConf:
    """`jobs`: how many run at a time; `group`: the wandb group, null for what is swept."""

    _target_: str = "hydra_plugins.aflow_process_launcher.AflowProcessLauncher"
    jobs: int = 1
    group: str | None = None


class AflowProcessLauncher(Launcher):
    """Forward to ProcessLauncher."""

    def __init__(self, **settings: Any) -> None:
        from aflow_env.sweep.launcher import ProcessLauncher

        self._launcher = ProcessLauncher(**settings)

    def setup(self, **given: Any) -> None:
        """Take Hydra's settings, before `launch`."""
        self._launcher.setup(**given)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs."""
        return self._launcher.launch(job_overrides, initial_job_idx)


ConfigStore.instance().store(
    group="hydra/launcher", name="aflow_process", node=ProcessLauncherConf, provider="aflow_env"
)
