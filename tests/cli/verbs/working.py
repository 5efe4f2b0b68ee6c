# SPDX-License-Identifier: Apache-2.0
"""What the tests of `run` and `serve` share: a workflow of two calls that can fail, and a server process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aflow_env.workflow.aflow.aflow_workspace import write_workflow
from aflow_env.workflow.program import Workflow
from tests.workflow.examples import graph

BODY = """
        if "fail" in problem:
            raise ValueError("this one is too hard")
        draft = (await self.custom(input=problem, instruction=prompt_custom.DRAFT))["response"]
        answer = (await self.custom(input=draft, instruction=prompt_custom.CHECK))["response"]
        return answer, self.llm.get_usage_summary()["total_cost"]
"""


def two_calls(folder: Path) -> Path:
    """Write a workflow that asks twice for each problem, and crashes on one that says `fail`."""
    write_workflow(Workflow(graph("ARITHMETIC", BODY, "Custom"), 'DRAFT = "Draft: "\nCHECK = "Check: "\n'), folder)
    return folder


def executor(address: str) -> tuple[str, ...]:
    """Overrides that name the test server as executor."""
    return ("executor=openai", f"executor.base_url={address}/v1", "executor.model=m", "executor.prices=free")


def command(*arguments: object) -> list[str]:
    """The command line in a process of its own."""
    return [sys.executable, "-m", "aflow_env.cli", *map(str, arguments)]


@dataclass
class Served:
    """A server that listens: its process, its address with /v1, its model, and the file of its stderr."""

    process: subprocess.Popen[bytes]
    address: str
    model: str
    log: Path


@contextmanager
def served(target: Path, temporary: Path, *arguments: object, **environment: str) -> Iterator[Served]:
    """`aflow-env serve` on a free port, ended by SIGTERM; its files are below `temporary`, and it leaves none."""
    log, files = temporary / "serve.log", temporary / "files"
    files.mkdir(parents=True)
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command("serve", target, "--port", 0, *arguments),
            stderr=stderr,
            env={**os.environ, "TMPDIR": str(files), **environment},
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"^serving (\S+?),? .*?(http://\S+)", log.read_text(), re.MULTILINE)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Served(process, found[2], found[1], log)
    finally:
        process.terminate()
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert status == 0, log.read_text()
    assert not list(files.iterdir()), "the server left files behind"
