# SPDX-License-Identifier: Apache-2.0
"""Reading Linux's /proc: who descends from whom, and which shared memory and sockets a process holds.

Standard library alone, because the janitor of `aflow_env.training.verl_patches.janitor` runs on it. A process that
ends while it is being read is simply not there.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """`started` (clock ticks since boot) tells a process from a later one with the same pid."""

    pid: int
    started: int


def table() -> dict[Process, int]:
    """Every process that is not a zombie, with its parent's pid."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and fields[0] != "Z":
            found[Process(int(entry.name), int(fields[19]))] = int(fields[1])
    return found


def descendants(pid: int) -> set[Process]:
    """The children of `pid`, theirs, and so on; without itself."""
    children: dict[int, list[Process]] = {}
    for process, parent in table().items():
        children.setdefault(parent, []).append(process)
    found: set[Process] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child.pid)
    return found


def with_environment(name: str, value: str) -> set[Process]:
    """Processes that were started with `name=value`; one that rewrote its title may have overwritten it."""
    entry = f"{name}={value}".encode()
    found = set()
    for process in table():
        try:
            if entry in (PROC / str(process.pid) / "environ").read_bytes().split(b"\0"):
                found.add(process)
        except OSError:
            continue
    return found


def alive(process: Process) -> bool:
    """Whether it is still there and no zombie."""
    fields = _stat(process.pid)
    return fields is not None and fields[0] != "Z" and int(fields[19]) == process.started


def title(process: Process) -> str:
    """Its command line, as the process itself may have rewritten it; empty when it is gone."""
    try:
        return (PROC / str(process.pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def holdings(processes: Iterable[Process]) -> set[str]:
    """Paths of the POSIX shared memory that they map and of the Unix sockets that they opened."""
    bound = _bound_sockets()
    paths: set[str] = set()
    for process in processes:
        home = PROC / str(process.pid)
        try:
            for line in (home / "maps").read_text(errors="replace").splitlines():
                _, found, name = line.partition("/dev/shm/")
                if found and not name.endswith(" (deleted)"):
                    paths.add(found + name)
            for descriptor in (home / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:[") and (path := bound.get(target[8:-1])):
                    paths.add(path)
        except OSError:
            continue
    return paths


def mapped_by_anyone() -> set[str]:
    """`holdings` of every process that may be read."""
    return holdings(table())


def _bound_sockets() -> dict[str, str]:
    """Inode to path, for the Unix sockets that have a path in the file system."""
    rows = (line.split() for line in (PROC / "net" / "unix").read_text().splitlines()[1:])
    return {row[6]: row[7] for row in rows if len(row) == 8 and row[7].startswith("/")}


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before them may hold spaces and brackets."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
