# SPDX-License-Identifier: Apache-2.0
"""Jobs of a sweep: each is a process of its own. A failure stops no other job, and a job that is done is skipped.

A job's folder has `job.json` (its identity, and how it ended), `job.log` (all its output) and a lock, so that two
sweeps never run one job at once. "Done" is written after the process ended with status 0. A sweep that was killed at
any instant runs only the missing jobs when it is repeated. A job that was cut off resumes in its folder. The kernel
sends SIGTERM to the jobs of a sweep that is killed.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import IO, Any, Literal, get_args

from hydra.errors import CompactHydraException
from rich.table import Column, Table

from aflow_env.errors import ConfigError
from aflow_env.files import write_text
from aflow_env.report.runs import JobRecord, job_record
from aflow_env.screen import WIDTH, Screen, plural
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.findings import last_report

Status = Literal["done", "skipped", "failed"]
POLL_SECONDS = 0.2
GRACE_SECONDS = 60.0
"""How long jobs get to end by themselves after a Ctrl-C."""
TAIL_LINES = 12
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class SweepError(ConfigError, CompactHydraException):
    """A sweep that cannot be, or the value of a failed job. Hydra prints it without a traceback (status 1)."""


@dataclass(frozen=True)
class Job:
    """`identity` is the job's overrides. `run_dir` is the folder of its search's store.

    A key of `identity` that is `free` may differ from the folder's record: the job is then not done yet.
    """

    name: str
    folder: Path
    run_dir: Path
    command: tuple[str, ...]
    identity: Mapping[str, str]
    free: Callable[[str], bool] = lambda key: False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EndedJob:
    """The end of a job. `reason` is why it failed, or ""."""

    job: Job
    status: Status
    seconds: float = 0.0
    reason: str = ""


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    lock: IO[str]
    began: float


def run(jobs: Sequence[Job], at_once: int, say: Callable[[str], None]) -> list[EndedJob]:
    """Run the missing jobs, at most `at_once` at a time, and announce each start and end. Results are in order.

    On Ctrl-C, or any other exception, the running jobs get SIGTERM and are waited for. Raises SweepError for a name
    that two jobs have.
    """
    if clashing := [name for name, count in Counter(job.name for job in jobs).items() if count > 1]:
        raise SweepError(f"several jobs of this sweep would be called {clashing[0]}: sweep each value once")
    ended: dict[str, EndedJob] = {}
    running: list[_Running] = []
    waiting = list(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                begun = _begin(waiting.pop(0))
                if isinstance(begun, EndedJob):
                    ended[begun.job.name] = begun
                    say(_line(begun, len(ended), len(jobs)))
                else:
                    running.append(begun)
                    say(f"{begun.job.name}: started, log {begun.job.folder / 'job.log'}")
            time.sleep(POLL_SECONDS if running else 0)
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                ended[each.job.name] = _end(each)
                say(_line(ended[each.job.name], len(ended), len(jobs)))
    finally:
        _stop(running)
    return [ended[job.name] for job in jobs]


def closing_table(ended: Sequence[EndedJob]) -> str:
    """Return the jobs with their best scores, in 80 columns, and how many were done, skipped and failed."""
    columns = [Column(name, no_wrap=True) for name in ("status", "best, validate", "test")]
    grid = Table(Column("job", overflow="fold"), *columns, box=None, pad_edge=False)
    for each in ended:
        said = last_report_of(each.job) or {}
        grid.add_row(each.job.name, each.status, *(_figure(said.get(name)) for name in ("best", "test")))
    out = StringIO()
    Screen(file=out, width=WIDTH).print(grid)
    counts = Counter(each.status for each in ended)
    numbers = ", ".join(f"{counts[status]} {status}" for status in get_args(Status))
    again = ". Run the same command again to go on with the missing jobs" if counts["failed"] else ""
    return f"{out.getvalue()}{plural(len(ended), 'job')}: {numbers}{again}"


def last_report_of(job: Job) -> dict[str, Any] | None:
    """Return the closing report of a job's run, or None without one, or where a failed job left no readable store."""
    try:
        with ReadOnlyStore(job.run_dir / "run.sqlite") as store:
            return last_report(store)
    except ConfigError:
        return None


def _figure(evaluation: dict[str, Any] | None) -> str:
    if evaluation is None:
        return "-"
    low, high = evaluation["ci95"]
    return f"{evaluation['score']:.2f} [{low:.2f}, {high:.2f}]"


def _begin(job: Job) -> _Running | EndedJob:
    """Start a job, or return why there is nothing to start."""
    job.folder.mkdir(parents=True, exist_ok=True)
    lock = (job.folder / "job.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return EndedJob(job, "failed", reason="another sweep is running this job now")
    if ended := _ended_before(job):
        lock.close()
        return ended
    _save(job, "running", 0.0)
    with (job.folder / "job.log").open("ab") as log:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(job.environment),
            preexec_fn=_end_with_parent if sys.platform.startswith("linux") else None,
        )
    return _Running(job, process, lock, time.monotonic())


def _ended_before(job: Job) -> EndedJob | None:
    """Return how the job ended where its folder has it as done, or has another job."""
    try:
        saved = job_record(job.folder)
    except ConfigError as error:
        return EndedJob(job, "failed", reason=str(error))
    if saved is None:
        return None
    before, wanted = saved.identity, job.identity
    differing = [
        f"{key}={before.get(key, '(unset)')} there, {wanted.get(key, '(unset)')} here"
        for key in sorted(before.keys() | wanted.keys())
        if before.get(key) != wanted.get(key) and not job.free(key)
    ]
    if differing:
        said = f"{job.folder} holds another job ({', '.join(differing)}): move it away, or name another folder"
        return EndedJob(job, "failed", reason=said)
    return EndedJob(job, "skipped", saved.seconds) if saved.status == "done" and before == wanted else None


def _end(running: _Running) -> EndedJob:
    job, seconds, status = running.job, time.monotonic() - running.began, running.process.returncode
    with running.lock:
        _save(job, "failed" if status else "done", seconds)
        if not status:
            return EndedJob(job, "done", seconds)
        how = f"exit status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"
        return EndedJob(job, "failed", seconds, f"{how}; its log ends:\n{_tail(job.folder / 'job.log')}")


def _stop(running: Sequence[_Running]) -> None:
    """End the running jobs. A search needs time to save its last round, a training to end its servers."""
    for each in running:
        with suppress(ProcessLookupError):
            each.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for each in running:
        try:
            each.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()
        each.lock.close()


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        text = file.read().decode(errors="replace").rstrip()
    return "\n".join(f"    {line[:300]}" for line in text.splitlines()[-TAIL_LINES:])


def _save(job: Job, status: str, seconds: float) -> None:
    record = JobRecord(name=job.name, status=status, seconds=seconds, identity=dict(job.identity))
    write_text(job.folder / "job.json", f"{json.dumps(record.model_dump(), indent=1)}\n")


def _line(ended: EndedJob, place: int, total: int) -> str:
    took = f" in {ended.seconds:.0f} s" if ended.status == "done" else ""
    why = f": {ended.reason}" if ended.reason else ""
    return f"[{place}/{total}] {ended.job.name}: {ended.status}{took}{why}"


def _end_with_parent() -> None:
    """Ask the kernel, in the new process, for SIGTERM when the sweep's process ends in any way."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
