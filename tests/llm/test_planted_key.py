# SPDX-License-Identifier: Apache-2.0
"""A key planted in the environment reaches the provider, and nothing else that a run leaves or starts.

Searched are stdout, stderr, every file of the run folder and of the working directory (store, ledger, best workflow, a
wandb run), with the SDK's own debug log on, and the environment and command line of every process that the run starts.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cli.conftest import SMALL
from tests.llm.helpers import KINDS
from tests.llm.server import Books, Plan, answer, no_fault, serve_beside

KEY = "sk-planted-7Qx/+9=secret"
SPELLINGS = [
    *(KEY.encode(), quote(KEY, safe="").encode(), json.dumps(KEY)[1:-1].encode(), KEY.encode("utf-16-le")),
    *(base64.b64encode(KEY.encode()), KEY[:16].encode()),
]
LOUD = {"ANTHROPIC_LOG": "debug", "PYTHONASYNCIODEBUG": "1", "PYTHONFAULTHANDLER": "1"}

BROKEN = """
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic

class Broken(Arithmetic):
    scored = False

    async def score(self, problem, output, run_code):
        Broken.scored = True
        return await super().score(problem, output, run_code)

    @property
    def spec(self):
        if self.scored:
            raise RuntimeError("a bug of ours")
        return Arithmetic.spec
"""


@dataclass
class Watched:
    """A search in a process of its own; what the processes below it were seen to be given."""

    folder: Path
    process: list[subprocess.Popen[bytes]] = field(default_factory=list)
    children: dict[int, bytes] = field(default_factory=dict)

    def model(self, prompt: str) -> str:
        """The provider's model, which looks around while the run waits for its answer."""
        for child in _below(self.process[0].pid) if self.process else ():
            self.children[child] = b"".join(_read(f"/proc/{child}/{name}") for name in ("environ", "cmdline"))
        return answer(prompt)

    def run(self, *command: str) -> tuple[int, bytes]:
        """Run to the end with the key in the environment; its status, and all that it printed."""
        environment = os.environ | LOUD | {"PLANTED_KEY": KEY, "PYTHONPATH": str(self.folder)}
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.process[:] = [process]
        with process:
            printed, _ = process.communicate(timeout=120)
        return process.returncode, printed

    def leaks(self, printed: bytes) -> list[str]:
        """Where the key is, in any spelling."""
        places = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        places |= {f"process {child}": given for child, given in self.children.items()} | {"output": printed}
        return [place for place, content in places.items() if any(spelling in content for spelling in SPELLINGS)]


def _below(pid: int) -> Iterator[int]:
    """All processes whose ancestor is `pid`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(f"{entry}/stat")):
            parents[int(entry.name)] = int(stat.rpartition(b")")[2].split()[1])
    wanted = {pid}
    while more := {child for child, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    yield from wanted - {pid}


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""  # it has ended


@contextmanager
def provider(watched: Watched, plan: Plan = no_fault) -> Iterator[tuple[str, Books]]:
    with serve_beside(plan, watched.model) as served:
        yield served


def search(kind: str, address: str, *more: str) -> tuple[str, ...]:
    base = f"{address}/v1" if kind == "openai" else address
    executor = (f"executor={kind}", f"executor.base_url={base}", "executor.model=m")
    key = ("executor.api_key_variable=PLANTED_KEY", "executor.max_attempts=2", "executor.retry_seconds=0.01")
    return ("-m", "aflow_env.cli", "search", "run_dir=run", *executor, *key, "rounds=2", *SMALL, *more)


def sent(books: Books) -> bool:
    """Whether the provider was given the key, without which these tests show nothing."""
    return any(KEY in value for _, headers, _ in books.requests for value in headers.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_ends_well_keeps_the_key_to_itself(kind: str, tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    with provider(watched, lambda prompt, attempt: "echo") as (address, books):  # in its headers, as the model's name
        status, printed = watched.run(*search(kind, address))
    assert status == 0, printed[-2000:]
    assert sent(books)
    assert watched.children, "the sandbox's processes must have been seen"
    assert (tmp_path / "run" / "run.sqlite").is_file()
    assert watched.leaks(printed) == []


@pytest.mark.parametrize(("kind", "fault"), [("openai", "not_json"), ("anthropic", "status:401")])
def test_a_provider_that_echoes_the_key_is_not_quoted(kind: str, fault: str, tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    with provider(watched, lambda prompt, attempt: fault) as (address, books):
        status, printed = watched.run(*search(kind, address))
    assert status == 3, printed[-2000:]
    assert b"[api key]" in printed
    assert sent(books)
    assert watched.leaks(printed) == []


def test_a_crash_of_ours_shows_no_key_in_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    watched = Watched(tmp_path)
    with provider(watched) as (address, books):
        status, printed = watched.run(*search("openai", address, "task.name=broken:Broken"))
    assert status == 1
    assert b"Traceback" in printed
    assert b"a bug of ours" in printed
    assert sent(books)
    assert watched.leaks(printed) == []


WANDB = """
import wandb
from aflow_env.cli.compose import load
from aflow_env.store.settings import as_plain
config = load(["executor=anthropic", "executor.model=m", "executor.api_key_variable=PLANTED_KEY", "run_dir=run"])
wandb.init(mode="offline", project="aflow", config={"aflow": as_plain(config)})
wandb.log({"aflow/best_score": 1.0})
wandb.finish()
"""


def test_a_wandb_run_holds_the_variables_name_alone(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs wandb: make setup")
    watched = Watched(tmp_path)
    status, printed = watched.run("-c", WANDB)
    assert status == 0, printed[-2000:]
    files = [path.read_bytes() for path in tmp_path.rglob("*.wandb")]
    assert any(b"PLANTED_KEY" in content for content in files), "the config must have been kept"
    assert watched.leaks(printed) == []
