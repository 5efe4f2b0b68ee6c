# SPDX-License-Identifier: Apache-2.0
"""Which layers there are is found out, told, and insisted on; a kernel that lacks one is simulated by refusing it."""

import logging
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.kernel import seccomp
from aflow_env.sandbox.pool import Sandbox

FORBIDDEN = """
fork vfork execve execveat ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal tkill
rt_sigqueueinfo rt_tgsigqueueinfo setsid setpgid socket connect bind listen accept sendmsg recvmsg mount umount2
pivot_root chroot unshare setns bpf keyctl add_key request_key io_uring_setup perf_event_open userfaultfd
memfd_create shmget semget msgget mq_open open_by_handle_at name_to_handle_at chmod fchmodat chown utimensat
setxattr link linkat symlink symlinkat mknod mknodat truncate setuid setgid capset seccomp setrlimit
sched_setaffinity setpriority kexec_load init_module reboot settimeofday clock_settime personality
"""

HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}

REFUSING = """
import asyncio, ctypes, errno, sys
from aflow_env.errors import ConfigError
from aflow_env.sandbox.kernel import confine, seccomp
from aflow_env.sandbox.pool import Sandbox

call, argument, mode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
code = [seccomp._load(0), seccomp._jump(seccomp._EQUAL, call, 0, 3 if argument >= 0 else 1)]
if argument >= 0:
    code += [seccomp._load(seccomp._low(0)), seccomp._jump(seccomp._EQUAL, argument, 0, 1)]
code += [seccomp._give(0x00050000 | errno.EINVAL), seccomp._give(seccomp._ALLOW)]
confine._prctl(confine._NO_NEW_PRIVS, 1)
seccomp.install(b"".join(code))

async def main():
    async with Sandbox(mode) as sandbox:
        run = await sandbox.run_code("def solve(): return 42", "solve", [], 20)
        print(run.value, *sandbox.layers)

try:
    asyncio.run(main())
except ConfigError as error:
    print("ConfigError:", error)
"""


def without(call: int, argument: int, mode: str) -> str:
    """What a sandbox says in a process whose kernel answers EINVAL to `call` (with that first argument, if any)."""
    command = [sys.executable, "-c", REFUSING, str(call), str(argument), mode]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in seccomp.MACHINES or not seccomp.available(),
    reason="needs a kernel with seccomp",
)
PRCTL = seccomp.GUARDED["prctl"][1 if platform.machine() in ("aarch64", "arm64") else 0]


@linux
@pytest.mark.parametrize(
    ("call", "argument", "lost", "kept"),
    [(444, -1, "landlock", "seccomp"), (446, -1, "landlock", "seccomp"), (PRCTL, 22, "seccomp", "landlock")],
    ids=["no-landlock", "landlock-that-fails-late", "no-seccomp"],
)
def test_a_kernel_without_a_layer_is_told_of_and_strict_refuses(call: int, argument: int, lost: str, kept: str) -> None:
    answer, *layers = without(call, argument, "auto").split()
    assert answer == "42"
    assert not any(layer.startswith(lost) for layer in layers)
    if any(layer.startswith(kept) for layer in without(99_999, -1, "auto").split()):
        assert any(layer.startswith(kept) for layer in layers)
    refusal = without(call, argument, "strict")
    assert refusal.startswith("ConfigError: sandbox=strict")
    assert f"no {lost}" in refusal
    assert "sandbox=auto" in refusal


@linux
async def test_strict_has_every_layer(caplog: pytest.LogCaptureFixture) -> None:
    try:
        async with Sandbox("strict") as sandbox:
            names = [layer.split("-")[0] for layer in sandbox.layers]
            assert names == ["process", "limits", "capabilities", "landlock", "seccomp"]
    except ConfigError as error:
        pytest.skip(str(error))
    assert not caplog.records


async def test_off_confines_resources_alone_and_warns_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="aflow_env.sandbox.pool")
    for times in (1, 2):
        async with Sandbox("off") as sandbox:
            assert sandbox.layers == ("process", "limits")
            run = await sandbox.run_code(f"def solve(): return open({__file__!r}).readline()", "solve", [], 20)
            assert "SPDX" in run.value
        assert caplog.text.count("sandbox=off") == times


def test_a_limit_of_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="memory_mb=0"):
        JailLimits(memory_mb=0)


@pytest.mark.parametrize("column", HEADERS)
def test_the_numbers_are_the_kernels(column: int) -> None:
    if not HEADERS[column].exists():
        pytest.skip(f"no {HEADERS[column]}: install the kernel's headers")
    named = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[column].read_text()))
    named.setdefault("newfstatat", named.get("fstatat", ""))
    for table in (seccomp.ALLOWED, seccomp.GUARDED, seccomp.ABSENT):
        for name, numbers in table.items():
            assert named.get(name) == (str(numbers[column]) if numbers[column] is not None else None), name


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_no_call_that_reaches_others_is_allowed(machine: str) -> None:
    assert not set(FORBIDDEN.split()) & (set(seccomp.ALLOWED) | set(seccomp.GUARDED))
    assert len(seccomp.program(1, machine)) % 8 == 0
    assert len(seccomp.program(1, machine)) // 8 < 4096, "the kernel's limit"
