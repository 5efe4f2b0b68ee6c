# SPDX-License-Identifier: Apache-2.0
"""Runs every attack as the current user and prints one JSON line an attack; `test_attacks.py` judges them.

A program of its own, so that it can be started as another user, by another interpreter. It plays the parent: the
attacks go for its memory, its environment and its sockets. Per attack: the run without the attack's layers, the run
with all of them, and the run of a harmless function by the same sandbox afterwards. Standard library only.
"""

import asyncio
import ctypes
import json
import os
import platform
import socket
import socketserver
import subprocess
import sys
import tempfile
import textwrap
import threading
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.kernel import confine
from aflow_env.sandbox.pool import Sandbox
from tests.sandbox.attacks import ATTACKS, ESCAPED, Attack

JAILED = JailLimits(memory_mb=128, disk_mb=8, threads=32)
OPEN = JailLimits(memory_mb=128, disk_mb=1000, threads=1000)

PROGRAM = """
import ctypes, os

def libc():
    return ctypes.CDLL(None, use_errno=True)

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def solve(w):
{body}
"""


def program(attack: Attack) -> str:
    return PROGRAM.format(body=textwrap.indent(textwrap.dedent(attack.body).strip(), "    "))


class Server(socketserver.BaseRequestHandler):
    """Says the word to whoever gets through."""

    def handle(self) -> None:
        if isinstance(self.request, tuple):
            self.request[1].sendto(ESCAPED.encode(), self.client_address)
        else:
            self.request.sendall(ESCAPED.encode())


def world(root: Path) -> dict[str, Any]:
    """The targets. Files lie in `root`, servers and the victim live as long as this process."""
    home = root / "home"
    (home / "mount").mkdir(parents=True)
    (home / "secret").write_text(ESCAPED)
    (home / "prey").write_text("prey")
    (home / "planted_module.py").write_text(f"VALUE = {ESCAPED!r}\n")
    abstract = f"aflow-arena-{os.getpid()}"
    tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server)
    udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Server)
    unix = socketserver.ThreadingUnixStreamServer(str(root / "unix"), Server)
    hidden = socketserver.ThreadingUnixStreamServer("\0" + abstract, Server)
    for server in (tcp, udp, unix, hidden):
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(root / "datagram"))
    memory = ctypes.create_string_buffer(ESCAPED.encode())
    victim = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1, start_new_session=True)
    arm = platform.machine() != "x86_64"
    return {
        "home": str(home),
        "secret": str(home / "secret"),
        "prey": str(home / "prey"),
        "mount": str(home / "mount"),
        "tcp": tcp.server_address[1],
        "udp": udp.server_address[1],
        "unix": str(root / "unix"),
        "abstract": abstract,
        "datagram": str(root / "datagram"),
        "parent": os.getpid(),
        "victim": victim.pid,
        "address": ctypes.addressof(memory),
        "keyctl": 219 if arm else 250,
        "bpf": 280 if arm else 321,
        "_keep": (memory, datagram, victim),
    }


async def run(sandbox: Sandbox, attack: Attack, targets: dict[str, Any], seconds: float) -> dict[str, Any]:
    arguments = {name: value for name, value in targets.items() if not name.startswith("_")}
    return asdict(await sandbox.run_code(program(attack), "solve", [arguments], seconds))


async def main(root: Path) -> None:
    targets = world(root)
    async with AsyncExitStack() as stack:

        async def sandbox(without: frozenset[str]) -> Sandbox:
            made = Sandbox(limits=OPEN if without & {"disk", "threads"} else JAILED, workers=2)
            made.wanted = tuple(layer for layer in confine.LAYERS if layer not in without)
            return await stack.enter_async_context(made)

        jail = await sandbox(frozenset())
        print(json.dumps({"layers": jail.layers, "user": os.getuid()}))
        controls: dict[frozenset[str], Sandbox] = {}
        for attack in ATTACKS:
            without = frozenset(attack.layers.split()) - {"clock"}
            if without not in controls:
                controls[without] = await sandbox(without)

        async def fight(attack: Attack) -> None:
            if attack.root_only and os.getuid() != 0:
                return
            control = controls[frozenset(attack.layers.split()) - {"clock"}]
            record = {
                "name": attack.name,
                "control": await run(control, attack, targets, 30.0),
                "jailed": await run(jail, attack, targets, 1.0 if attack.layers == "clock" else 15.0),
                "next": asdict(await jail.run_code("def solve(): return 42", "solve", [], 15.0)),
            }
            print(json.dumps(record), flush=True)

        await asyncio.gather(*map(fight, ATTACKS))
    targets["_keep"][2].kill()
    targets["_keep"][2].wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="aflow-arena-") as directory:
        asyncio.run(main(Path(directory)))
