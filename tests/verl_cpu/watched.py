# SPDX-License-Identifier: Apache-2.0
"""verl's stock synchronous trainer under the watchdog (VERL_USE_EXTERNAL_MODULES), for tests that kill its parts."""

import functools

from wrapt import when_imported


@when_imported("verl.trainer.ppo.v1")
def register(v1: object) -> None:
    from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer

    from aflow_env.rl.watchdog import Watchdog

    class Watched(PPOTrainerSync):
        @functools.wraps(PPOTrainerSync.fit)
        def fit(self, agent_loop_manager: object) -> None:
            with Watchdog():
                super().fit(agent_loop_manager)

    register_trainer("watched")(Watched)
