# SPDX-License-Identifier: Apache-2.0
"""Read lines that verl, Ray and vLLM print, and mark lines of ours."""

import logging
import re
from dataclasses import dataclass

MARK = "aflow_env: "
"""Begins each line of ours that is meant for the screen."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORKER = re.compile(r"^\((?:[^()\n]*\bpid=\d+[^()\n]*|raylet[^()\n]*)\) ")
_STEP = re.compile(r"step:(\d+) - (.*)")
_NUMBER = re.compile(r"(?:np\.\w+\()?(-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan))\)?")


@dataclass(frozen=True)
class LogLine:
    """A line without colours; `worker` is Ray's prefix with a space after it, "" for the driver's own."""

    worker: str
    text: str

    @classmethod
    def of(cls, raw: str) -> "LogLine":
        """Read a line of the log."""
        plain = _COLOUR.sub("", raw).rstrip()
        found = _WORKER.match(plain)
        return cls(found[0], plain[found.end() :]) if found else cls("", plain)


def marked(text: str) -> str:
    """Return the text with the mark before every line."""
    return "\n".join(f"{MARK}{line}".rstrip() for line in text.strip("\n").splitlines())


def mark_warnings() -> None:
    """Let this process print the package's warnings as marked lines, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{MARK}%(message)s"))
    logging.getLogger("aflow_env").addHandler(handler)


def step_metrics(text: str) -> tuple[int, dict[str, float]] | None:
    """Return step and metrics of a line by verl's console logger, None for any other line."""
    found = _STEP.match(text)
    if not found:
        return None
    pairs = (part.partition(":")[::2] for part in found[2].split(" - "))
    return int(found[1]), {name: float(number[1]) for name, value in pairs if (number := _NUMBER.fullmatch(value))}


def metrics_of(log: str) -> dict[int, dict[str, float]]:
    """Return all metrics in a log of verl's console logger, by step."""
    steps: dict[int, dict[str, float]] = {}
    for raw in log.splitlines():
        if found := step_metrics(LogLine.of(raw).text):
            steps.setdefault(found[0], {}).update(found[1])
    return steps
