# SPDX-License-Identifier: Apache-2.0
"""Whatever becomes of a driver, what descended from it and what that held is gone; nothing else is touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import psutil

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
import select, subprocess, sys
from aflow_env.training.verl_patches.janitor import guard
guard(None)
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:4]], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
while not select.select([sys.stdin], [], [], 0.1)[0]:
    pass
"""
"""It waits in short steps: a signal that came just before a read would be handled after it."""


def within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.1)
    return true()


@dataclass(frozen=True)
class Family:
    """A driver, the pid of its child, and the shared memory and the socket that the child holds."""

    driver: "subprocess.Popen[str]"
    child: int
    memory: Path
    socket: Path

    def end(self, how: str) -> None:
        if how == "by itself":
            assert self.driver.stdin is not None
            self.driver.stdin.close()
        else:
            self.driver.send_signal(getattr(signal, how))  # before ray.init SIGTERM is no exit: the janitor is alone

    def ended(self) -> bool:
        gone = not psutil.pid_exists(self.child) or psutil.Process(self.child).status() == "zombie"
        return gone and not self.memory.exists() and not self.socket.exists()


def family(end: str, folder: Path) -> Family:
    """Start a driver that waits until its standard input ends or a signal comes."""
    memory, socket = Path("/dev/shm", f"aflow_test_{os.getpid()}_{end[-4:].strip()}"), folder / end[-4:].strip()
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, CHILD, memory.name, str(socket)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert driver.stdout is not None
    return Family(driver, int(driver.stdout.readline()), memory, socket)


def test_nothing_outlives_the_driver(tmp_path: Path) -> None:
    """However it ends. The four are cleaned up after at the same time, since a stubborn child has some seconds."""
    foreign = SharedMemory(create=True, size=4096)
    families: dict[str, Family] = {}
    try:
        for end in ("by itself", "SIGTERM", "SIGINT", "SIGKILL"):
            families[end] = family(end, tmp_path)
            assert families[end].memory.exists()
            assert families[end].socket.exists()
            families[end].end(end)
        for each in families.values():
            each.driver.wait(timeout=60)
            assert within(60, each.ended), families
        assert Path("/dev/shm", foreign.name).exists(), "somebody else's memory was removed"
    finally:
        for each in families.values():
            each.driver.kill()
            each.driver.wait()
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
