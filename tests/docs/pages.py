# SPDX-License-Identifier: Apache-2.0
"""The examples of a page of docs/, as they stand there: files (blocks with a title) and commands (bash blocks)."""

import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is (or ""), its text."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of docs/PAGE, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [Block(found["language"], found["title"] or "", found["text"]) for found in _BLOCK.finditer(text)]


def write_files(page: str, folder: Path, port: int | None = None) -> None:
    """Write the page's files below `folder`; `port` takes the place of the port that the page names, 8765."""
    for block in blocks(page):
        if block.title and block.language != "diff":
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text.replace("8765", str(port or 8765)), encoding="utf-8")


def script(page: str, port: int | None = None) -> str:
    """The page's commands as one bash script that ends at the first that fails."""
    text = "\n".join(block.text for block in blocks(page) if block.language == "bash")
    return "set -euo pipefail\n" + text.replace("8765", str(port or 8765))


def run_page(page: str, folder: Path, port: int | None = None, more: str = "", seconds: float = 300) -> str:
    """Write the page's files into an empty folder, run its commands and `more` there, and return what they printed."""
    write_files(page, folder, port)
    done = subprocess.run(
        ["bash", "-c", script(page, port) + more],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIMULATED executor" in done.stdout
    return done.stdout


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
