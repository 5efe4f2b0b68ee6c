# SPDX-License-Identifier: Apache-2.0
"""vLLM's readers sleep on a CPU instead of spinning beside the worker that they wait for."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest.importorskip("vllm")

WAIT = """
import resource, sys, time
import zmq
from vllm.distributed.device_communicators.shm_broadcast import SpinCondition
from vllm.plugins import load_general_plugins
from vllm.utils.network_utils import get_open_zmq_ipc_path

if sys.argv[1] == "patched":
    load_general_plugins()
    load_general_plugins()
context = zmq.Context()
address = get_open_zmq_ipc_path()
writer = SpinCondition(False, context, address)
reader = SpinCondition(True, context, address)
reader.record_read()
end, waits, slept = time.monotonic() + 0.5, 0, -resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
while time.monotonic() < end:
    reader.wait(100)
    waits += 1
print(waits, slept + resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)
reader.busy_loop_s = 0
writer.notify()
begun = time.monotonic()
reader.wait(10_000)
print(time.monotonic() - begun)
"""


def waited(how: str) -> tuple[int, int, float]:
    """Return how often a reader looks within half a second, how often it sleeps, and the seconds until it is woken.

    A process that sleeps gives its core away by itself, which the kernel counts. One that yields does not.
    """
    said = subprocess.run([sys.executable, "-c", WAIT, how], capture_output=True, text=True, timeout=300, check=True)
    looks, sleeps, woken = said.stdout.split()[-3:]
    return int(looks), int(sleeps), float(woken)


def test_vllm_loads_the_plugin_of_this_package() -> None:
    """Without the entry point the patch would be dead code, and no training would say so."""
    found = {each.value for each in entry_points(group="vllm.general_plugins")}
    assert "aflow_env.training.verl_patches.cpu.waiting:register" in found


def test_a_reader_leaves_its_core_and_still_wakes_at_a_message() -> None:
    """A stock reader looks all the time; ours sleeps between looks."""
    looks, sleeps, _ = waited("stock")
    assert sleeps < looks / 2
    looks, sleeps, woken = waited("patched")
    assert sleeps >= looks > 10
    assert woken < 5
