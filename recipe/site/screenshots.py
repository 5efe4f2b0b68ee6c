# SPDX-License-Identifier: Apache-2.0
"""The pictures of README.md: `python -m recipe.site.screenshots` searches, and photographs the pages that come of it.

Writes docs/images/tree.png and report.png, from four searches with the SIMULATED executor. Needs chromium.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from recipe.site.drawings import FOLDER

SEARCH = ("rl_weight=0", "proposer=random", "rounds=30")
SIZES = {"tree": "1200,680", "report": "1000,760"}


def aflow_env(*arguments: str) -> None:
    """Run the command line; raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-m", "aflow_env.cli", *arguments], check=True, stdout=sys.stderr)


def photograph(page: Path, picture: Path, size: str) -> None:
    """Take a screenshot of a page as a person sees it when it is opened."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
    chosen = [f"--window-size={size}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(["chromium", *flags, *chosen], check=True, capture_output=True)


def main() -> None:
    """Search, write the pages, photograph them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        for c_ucb in ("0", "0.1"):
            for seed in ("1", "2"):
                run = f"run_dir={folder}/ucb-{c_ucb}-{seed}"
                aflow_env("search", *SEARCH, f"selection.c_ucb={c_ucb}", f"seed={seed}", run)
        runs = sorted(str(path) for path in folder.iterdir())
        aflow_env("tree", runs[0], "--out", str(folder / "tree.html"))
        aflow_env("report", *runs, "--by", "selection.c_ucb", "--html", str(folder / "report.html"))
        for name, size in SIZES.items():
            photograph(folder / f"{name}.html", FOLDER / f"{name}.png", size)


if __name__ == "__main__":
    main()
