# SPDX-License-Identifier: Apache-2.0
"""Try all known cheats on every task: `python -m tests.cheats`, from the project's root.

Prints a table of cheats and tasks with the mean score of each beside the best constant output, marks what pays with a
star, and exits with 1 when something does. Real data is read from the folder `shared/data` beside the checkout.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cheats.arena import REAL, Column, columns

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def table(found: list[Column]) -> str:
    """A row a cheat, a column a task; a star marks what pays."""
    width = max(len(name) for column in found for name in column.scores) + 2
    heads = [max(len(column.task), 6) + 2 for column in found]
    lines = ["".join(("cheat".ljust(width), *(c.task.rjust(n) for c, n in zip(found, heads, strict=True))))]
    lines.append(
        "".join(("problems".ljust(width), *(str(c.problems).rjust(n) for c, n in zip(found, heads, strict=True))))
    )
    lines.append(
        "".join(
            ("best constant".ljust(width), *(f"{c.honest:.3f}".rjust(n) for c, n in zip(found, heads, strict=True)))
        )
    )
    for cheat in dict.fromkeys(name for column in found for name in column.scores):
        cells = [f"{c.scores[cheat]:.3f}{'*' if c.pays(cheat) else ''}" if cheat in c.scores else "" for c in found]
        lines.append("".join((cheat.ljust(width), *(cell.rjust(n) for cell, n in zip(cells, heads, strict=True)))))
    return "\n".join(lines)


def main() -> int:
    """Run as a program: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=45, help="of each task of text; a quarter of it of the others")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real data")
    parser.add_argument("tasks", nargs="*", help="these tasks only")
    options = parser.parse_args()
    data = options.data if options.data.is_dir() else None
    if data is None:
        print(f"{options.data} is not there: {', '.join(REAL)} are left out")
    with TemporaryDirectory(prefix="aflow-cheats-") as folder:
        found = asyncio.run(columns(Path(folder), data, options.problems, options.tasks))
    print(table(found))
    paying = [(cheat, c) for c in found for cheat in c.scores if c.pays(cheat)]
    for cheat, c in paying:
        print(f"pays: {cheat!r} on {c.task}: {c.scores[cheat]:.3f}, the best constant {c.honest:.3f}")
    return int(bool(paying))


if __name__ == "__main__":
    sys.exit(main())
