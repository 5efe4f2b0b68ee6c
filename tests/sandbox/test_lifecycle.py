# SPDX-License-Identifier: Apache-2.0
"""Nothing is left behind: no process, no file, no descriptor, whoever dies first."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aflow_env.errors import InfrastructureError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.jail import scratch
from aflow_env.sandbox.pool import Sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEP = "def solve():\n    import time; time.sleep(60)"
PARENT = f"""
import asyncio
from aflow_env.sandbox.pool import Sandbox
async def main():
    async with Sandbox() as sandbox:
        task = asyncio.create_task(sandbox.run_code({SLEEP!r}, "solve", [], 60))
        print("ready", flush=True)
        await task
asyncio.run(main())
"""


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


async def at_work(sandbox: Sandbox) -> tuple[Any, int]:
    """The sandbox's one worker and its child, once it has one, however busy the machine is."""

    def found() -> list[tuple[Any, int]]:
        return [(worker, pid) for worker in sandbox._all for pid in children(worker.process.pid)]

    assert await asyncio.to_thread(eventually, lambda: bool(found()))
    [only] = found()
    return only


@pytest.fixture
def family(tmp_path: Path) -> Any:
    """A parent with a sandbox at work in its own temporary directory: (parent process, zygote pid, child pid)."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"ready\n"
    assert eventually(lambda: any(children(zygote) for zygote in children(parent.pid)))
    [zygote] = children(parent.pid)
    [child] = children(zygote)
    yield parent, zygote, child
    for pid in (parent.pid, zygote, child):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    parent.communicate()


def jails(where: Path) -> list[Path]:
    return list(where.glob(scratch.PREFIX + "*"))


def test_a_killed_parent_takes_everything_with_it(family: Any, tmp_path: Path) -> None:
    parent, zygote, child = family
    assert len(jails(tmp_path)) == 1
    parent.kill()
    assert eventually(lambda: not alive(zygote) and not alive(child) and not jails(tmp_path))


def test_a_child_outlives_nobody_and_the_next_start_sweeps(family: Any, tmp_path: Path) -> None:
    """Parent and zygote killed together cannot clean up: the kernel ends the child, the next zygote the directory."""
    parent, zygote, child = family
    os.kill(zygote, signal.SIGSTOP)
    parent.kill()
    os.kill(zygote, signal.SIGKILL)
    assert eventually(lambda: not alive(child))
    [left] = jails(tmp_path)
    path, lock = scratch.make(str(tmp_path))
    scratch.sweep(str(tmp_path))
    assert jails(tmp_path) == [path], f"what is in use stays, {left} goes"
    os.close(lock)
    scratch.sweep(str(tmp_path))
    assert not jails(tmp_path)


async def test_a_killed_zygote_is_an_infrastructure_error_and_is_replaced() -> None:
    others = set(children(os.getpid()))
    async with Sandbox() as sandbox:
        task = asyncio.create_task(sandbox.run_code(SLEEP, "solve", [], 60))
        worker, child = await at_work(sandbox)
        worker.process.kill()
        with pytest.raises(InfrastructureError, match="died"):
            await task
        assert eventually(lambda: not alive(child))
        assert not worker.home.exists()
        run = await sandbox.run_code("def solve(): return 1", "solve", [], 10)
        assert run.outcome == "ok"
        [worker] = sandbox._all
        worker.process.kill()  # while idle: nobody notices
        await asyncio.sleep(0.2)
        assert (await sandbox.run_code("def solve(): return 1", "solve", [], 10)).outcome == "ok"
    assert set(children(os.getpid())) <= others


async def test_a_cancelled_run_ends_its_child() -> None:
    async with Sandbox() as sandbox:
        task = asyncio.create_task(sandbox.run_code(SLEEP, "solve", [], 60))
        worker, child = await at_work(sandbox)
        pids = [worker.process.pid, child]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not any(alive(pid) for pid in pids)


async def test_fifty_runs_leave_nothing() -> None:
    before = len(os.listdir("/proc/self/fd"))
    others = set(children(os.getpid()))
    async with Sandbox() as sandbox:
        code = "def solve(n):\n    open('f', 'w').write('x' * n)\n    import os; return sorted(os.listdir())"
        runs = await asyncio.gather(*(sandbox.run_code(code, "solve", [n], 30) for n in range(50)))
        assert {run.value for run in runs} == {"['f']"}, "a job finds nothing of the one before"
        homes = [worker.home for worker in sandbox._all]
        assert not any(list(home.iterdir()) for home in homes)
    assert not any(home.exists() for home in homes)
    assert set(children(os.getpid())) <= others
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_without_seccomp_a_daemon_is_ended_with_its_job() -> None:
    """Where fork cannot be forbidden, what left the session is still below the zygote."""
    code = """
def solve():
    import os, time
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            os.write(writer, str(os.getpid()).encode())
            time.sleep(60)
        os._exit(0)
    return int(os.read(reader, 99))
"""
    sandbox = Sandbox()
    sandbox.wanted = ("limits",)
    async with sandbox:
        run = await sandbox.run_code(code, "solve", [], 30)
        assert run.outcome == "ok"
        assert not alive(int(run.value))


async def test_a_full_directory_is_emptied_whatever_is_in_it() -> None:
    code = """
def solve():
    import os
    for i in range(3000):
        os.mkdir("d" * 200); os.chdir("d" * 200)
    open("deep", "w").write("x")
    return "done"
"""
    async with Sandbox(limits=JailLimits(disk_mb=1000)) as sandbox:
        run = await sandbox.run_code(code, "solve", [], 60)
        assert run.outcome in ("ok", "violation")  # it is killed when a glance falls on it in time
        [worker] = sandbox._all
        assert not list(worker.home.iterdir())


def test_closed_directories_and_links_are_removed_and_nothing_behind_them(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    home = tmp_path / "home"
    deep = home / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "link").symlink_to(tmp_path / "kept")
    (home / "link").symlink_to(tmp_path / "kept")
    (deep / "file").write_text("x")
    for path in (deep, home / "a" / "b", home / "a", home):
        path.chmod(0)
    scratch.remove(home)
    assert not home.exists()
    assert (tmp_path / "kept" / "file").read_text() == "kept"
    scratch.remove(home)  # gone already


def test_directories_are_made_while_others_sweep(tmp_path: Path) -> None:
    """Two zygotes that start at once: the one's fresh directory is never the other's leftover."""
    sweeping = "import sys\nfrom aflow_env.sandbox.jail import scratch\nwhile True: scratch.sweep(sys.argv[1])"
    sweeper = subprocess.Popen([sys.executable, "-c", sweeping, str(tmp_path)])
    try:
        time.sleep(0.3)
        made = [scratch.make(str(tmp_path)) for _ in range(300)]
        assert all(path.exists() for path, _ in made)
    finally:
        sweeper.kill()
        sweeper.wait()
    for _, lock in made:
        os.close(lock)


def test_a_servers_event_loop_will_do() -> None:
    """verl's and vLLM's processes run uvloop, which is stricter about sockets than asyncio's own loop."""
    uvloop = pytest.importorskip("uvloop")

    async def once() -> str:
        async with Sandbox() as sandbox:
            return str((await sandbox.run_code("def solve(): return 42", "solve", [], 20)).value)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(once()) == "42"
