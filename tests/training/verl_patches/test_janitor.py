# SPDX-License-Identifier: Apache-2.0
"""Whatever becomes of a driver, what descended from it and what that held is gone; nothing else is touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import psutil
import pytest

from aflow_env.training.verl_patches import janitor as processes

CHILD = """
import signal, socket, sys, time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
resource_tracker.register = lambda *a: None  # as after SIGKILL: nobody cleans up for it
signal.signal(signal.SIGTERM, signal.SIG_IGN)
memory = SharedMemory(name=sys.argv[1], create=True, size=4096)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[2])
print("ready", flush=True)
time.sleep(120)
"""

DRIVER = """
import subprocess, sys, time
from aflow_env.training.verl_patches.janitor import guard
guard(None)
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:4]], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
time.sleep(60 if sys.argv[4] == "hang" else 0)
"""


def within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.1)
    return true()


@pytest.mark.parametrize("end", ["by itself", "SIGTERM", "SIGINT", "SIGKILL"])
def test_nothing_outlives_the_driver(end: str, tmp_path: Path) -> None:
    name, socket = f"aflow_test_{os.getpid()}_{end[-4:].strip()}", tmp_path / "socket"
    foreign = SharedMemory(create=True, size=4096)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, CHILD, name, str(socket), "end" if end == "by itself" else "hang"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    try:
        assert driver.stdout is not None
        pid = int(driver.stdout.readline())
        assert Path("/dev/shm", name).exists()
        assert socket.exists()
        if end == "by itself":
            driver.communicate("\n", timeout=30)
        elif end == "SIGTERM":
            driver.send_signal(signal.SIGTERM)  # before ray.init nothing turns it into an exit: the janitor is alone
            driver.wait(timeout=30)
        else:
            driver.send_signal(getattr(signal, end))
            driver.wait(timeout=30)
        assert within(20, lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
        assert within(5, lambda: not Path("/dev/shm", name).exists() and not socket.exists())
        assert Path("/dev/shm", foreign.name).exists(), "somebody else's memory was removed"
    finally:
        driver.kill()
        driver.wait()
        foreign.close()
        foreign.unlink()


def test_descendants_are_found_through_dead_parents_and_zombies_are_not() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 30 & wait"])
    try:
        assert within(5, lambda: "sleep 30" in map(processes.title, processes.descendants(os.getpid())))
        found = processes.descendants(os.getpid())
        shell.kill()
        sleeper = next(process for process in found if processes.title(process) == "sleep 30")
        assert within(5, lambda: psutil.Process(shell.pid).status() == "zombie")
        assert processes.alive(sleeper)
        os.kill(sleeper.pid, signal.SIGKILL)
        assert within(5, lambda: not processes.alive(sleeper))
    finally:
        shell.kill()
        shell.wait()
