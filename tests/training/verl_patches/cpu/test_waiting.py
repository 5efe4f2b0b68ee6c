# SPDX-License-Identifier: Apache-2.0
"""vLLM's readers sleep on a CPU instead of spinning beside the worker that they wait for."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest.importorskip("vllm")

WAIT = """
import sys, time
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
end, waits = time.monotonic() + 0.5, 0
while time.monotonic() < end:
    reader.wait(100)
    waits += 1
print(waits)
reader.busy_loop_s = 0
writer.notify()
begun = time.monotonic()
reader.wait(10_000)
print(time.monotonic() - begun)
"""


def waited(how: str) -> tuple[int, float]:
    """Return how often a reader looks within half a second, and the seconds until a notification wakes it."""
    said = subprocess.run([sys.executable, "-c", WAIT, how], capture_output=True, text=True, timeout=300, check=True)
    waits, woken = said.stdout.split()[-2:]
    return int(waits), float(woken)


def test_vllm_loads_the_plugin_of_this_package() -> None:
    """Without the entry point the patch would be dead code, and no training would say so."""
    found = {each.value for each in entry_points(group="vllm.general_plugins")}
    assert "aflow_env.training.verl_patches.cpu.waiting:register" in found


def test_a_reader_leaves_its_core_and_still_wakes_at_a_message() -> None:
    """A stock reader looks as often as its core lets it; ours sleeps between looks."""
    spun, _ = waited("stock")
    slept, woken = waited("patched")
    assert 10 < slept < spun / 2
    assert woken < 5
