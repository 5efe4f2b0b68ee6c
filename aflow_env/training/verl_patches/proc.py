# SPDX-License-Identifier: Apache-2.0
"""Processes on Linux: descendants, shared memory, sockets.

psutil tells a process from a later one with the same pid. A process that ends while it is read counts as gone. Maps
are read from /proc: psutil reads each mapping's pages as well, which stalls a process with much memory.
"""

from collections.abc import Iterable
from pathlib import Path

import psutil
from psutil import Process


def descendants(pid: int) -> set[Process]:
    """Return the children of `pid`, theirs, and so on, without itself and without zombies."""
    try:
        return {child for child in Process(pid).children(recursive=True) if alive(child)}
    except psutil.NoSuchProcess:
        return set()


def with_environment(name: str, value: str) -> set[Process]:
    """Return the processes that were started with `name=value`; one that rewrote its title may have lost it."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                found.add(process)
        except psutil.Error:
            continue
    return found


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


def mapped_by_anyone() -> set[str]:
    """Return the `holdings` of every process that may be read."""
    return holdings(psutil.process_iter())
