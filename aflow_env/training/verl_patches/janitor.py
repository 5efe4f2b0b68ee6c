# SPDX-License-Identifier: Apache-2.0
"""Remove the processes, sockets and shared memory of a run, however its driver ends.

Mends verl 0.9.1, which leaves vLLM's shared memory and sockets even after a clean end, and processes after a bad one.
The plugin calls `guard` in the driver before Ray starts. It starts a janitor in a session of its own, which Ctrl-C does
not reach. The janitor notes every few seconds the driver's descendants and their shared memory and sockets. A mark in
the environment names descendants that are younger than the last look. At the driver's exit (end, exception, Ctrl-C,
SIGTERM) Ray is shut down and the janitor cleans while the driver waits. When the driver is killed, its end of the pipe
closes and the janitor cleans alone. It touches only descendants of this driver, so runs side by side do not hurt each
other. Ray's log folder stays.

psutil tells a process from a later one with the same pid. A process that ends while it is read counts as gone. Maps
are read from /proc: psutil reads each mapping's pages as well, which stalls a process with much memory.
"""

import atexit
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import psutil
from psutil import Process

LOOK_EVERY = 5.0
"""Seconds between two looks; a look costs some 50 ms of a core."""
LOOK_EVERY_AT_THE_END = 0.3
GRACE = 5.0
"""Seconds that the processes get to end by themselves before SIGKILL."""
MARK = "AFLOW_DRIVER"
PR_SET_CHILD_SUBREAPER = 36


def guard(_: ModuleType) -> None:
    """Start the janitor for this driver; in a Ray worker, which imports the same modules, do nothing."""
    import ray

    if ray.is_initialized() or not sys.platform.startswith("linux"):
        return
    # Orphans become the driver's children instead of init's, so they stay findable.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ[MARK] = f"{os.getpid()}-{time.time_ns()}"
    janitor = subprocess.Popen(
        [sys.executable, "-m", "aflow_env.training.verl_patches.janitor", str(os.getpid()), os.environ[MARK]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    atexit.register(_leave, janitor, os.getpid())


def _leave(janitor: subprocess.Popen[bytes], driver: int) -> None:
    """Let the janitor look, shut Ray down, and wait until all is gone; runs at the driver's exit, before Ray's own."""
    import ray

    from aflow_env.training.verl_patches.watchdog import verdict

    if os.getpid() != driver or janitor.stdin is None or janitor.stdout is None:
        return
    signal.alarm(0)  # Ray 2.60 aborts a driver 3 s after a SIGTERM, in the middle of its clean-up
    reason = verdict()
    with contextlib.suppress(BrokenPipeError):
        janitor.stdin.write(b"the end\n")
        janitor.stdin.flush()
        select.select([janitor.stdout], [], [], 3 * GRACE)
    ray.shutdown()
    with contextlib.suppress(BrokenPipeError):
        janitor.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        janitor.wait(timeout=3 * GRACE)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # the orphans that came to this process
            pass
    if reason:
        print(reason, file=sys.stderr, flush=True)


class Janitor:
    """The descendants of `driver` so far, and their files; `mark` is in the environment of all of them."""

    def __init__(self, driver: int, mark: str) -> None:
        self.driver = driver
        self.mark = mark
        self.born = time.time()
        self.processes: set[Process] = set()
        self.paths: set[str] = set()

    def look(self) -> None:
        """Note the driver's descendants, those that carry the mark, and the children of orphans that were noted."""
        found = descendants(self.driver) | with_environment(MARK, self.mark)
        orphans = {process for process in self.processes if alive(process)} - found
        found |= orphans.union(*(descendants(process.pid) for process in orphans))
        self.processes = {process for process in found if process.pid not in (os.getpid(), self.driver)}
        self.paths |= holdings(self.processes)

    def clean(self) -> int:
        """End the processes that are left and remove their files; return how many had to be killed."""
        deadline = time.monotonic() + GRACE
        self.look()
        while self.processes and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_AT_THE_END)
            self.look()
        stubborn = self.processes
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        while any(alive(process) for process in stubborn):
            time.sleep(0.05)
        in_use = holdings(psutil.process_iter())
        for path in {*self.paths, *self._weights_in_flight()} - in_use:
            with contextlib.suppress(OSError):
                os.unlink(path)
        return len(stubborn)

    def _weights_in_flight(self) -> set[str]:
        """Return verl's buckets of a sync that was cut off, by their names: they live too briefly to be noted."""
        found = set()
        for path in Path("/dev/shm").glob("verl_weights_*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime >= self.born:
                    found.add(str(path))
        return found


def main(driver: int, mark: str) -> None:
    """Look every few seconds, more often once the driver ends; clean when its end of the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    janitor = Janitor(driver, mark)
    pause = LOOK_EVERY
    while True:
        ready, _, _ = select.select([0], [], [], pause)
        if ready and not os.read(0, 64):
            break
        janitor.look()
        if ready:
            pause = LOOK_EVERY_AT_THE_END  # a process that shuts down opens files for moments
            with contextlib.suppress(BrokenPipeError):
                os.write(1, b"seen\n")
    killed = janitor.clean()
    if killed:
        with contextlib.suppress(OSError):
            left = "1 process" if killed == 1 else f"{killed} processes"
            print(f"aflow_env: ended {left} that outlived the run", file=sys.stderr, flush=True)


def descendants(pid: int) -> set[Process]:
    """Return the children of `pid`, theirs, and so on, without itself and without zombies."""
    try:
        return {child for child in Process(pid).children(recursive=True) if alive(child)}
    except psutil.NoSuchProcess:
        return set()


def with_environment(name: str, value: str) -> set[Process]:
    """Return the processes that were started with `name=value`; one that rewrote its title may have lost it."""
    processes = psutil.process_iter(["environ"])
    return {process for process in processes if (process.info["environ"] or {}).get(name) == value}


def alive(process: Process) -> bool:
    """Whether it runs and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def title(process: Process) -> str:
    """Return its command line, as the process itself may have rewritten it; empty when it is gone."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def holdings(processes: Iterable[Process]) -> set[str]:
    """Return the paths of the POSIX shared memory that they map and of the Unix sockets that they opened."""
    pids = {process.pid for process in processes}
    sockets = {each.laddr for each in psutil.net_connections("unix") if each.pid in pids}
    paths = {path for path in sockets if path.startswith("/")}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            _, found, name = line.partition("/dev/shm/")
            if found and not name.endswith(" (deleted)"):
                paths.add(found + name)
    return paths


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
