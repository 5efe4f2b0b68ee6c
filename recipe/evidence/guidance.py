# SPDX-License-Identifier: Apache-2.0
"""Does guidance by a policy help a search? The embedded task, a SIMULATED executor, equal rounds, paired by seed.

    python -m recipe.evidence.guidance --policy trained=DIR --policy untrained=DIR --seeds 12

Each arm is an `aflow-env sweep` over the same seeds: seed s decides the problems, the selection's draws and the
executor's noise, so arms are compared within a seed. Policies are Hugging Face folders, served one after the other by
vLLM on a CPU; arms whose policy is not named are left out, and so is what `--only` does not match. Finished searches
are skipped, so a run that was cut goes on. What counts is the chosen workflow's score on 60 test problems that the
search never saw; what the executor and the policy cost is beside it. `recipe.evidence.results` turns the data into
docs/results.md.

The policies were trained on other problems of the same task and on the same simulated landscape: what is measured is
whether what they learnt there carries over to new searches, not whether it would help on another task.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from aflow_env.cli.options import ONE_BY_ONE

from aflow_env.store.findings import last_report, overview, rejections
from aflow_env.store.read_only import ReadOnlyStore

AS_TRAINED = ("failed_cases=0", "experience_entries=4", "state_characters=1200", "policy.max_tokens=64")
"""The states are cut as in conf/aflow_gigpo_cpu.yaml, on which the tiny policy was trained."""
COMMON = ("limit=24", "task.validate_size=24", "task.test_size=60", "executor.mode=live", *AS_TRAINED)
PORT = 8078
RESULTS = Path("recipe/evidence/results/guidance.jsonl")
START_SECONDS = 300.0


SHORT, LONG, LONGER = 8, 20, 30
WEIGHTS = (0, 0.25, 0.5, 0.75, 1)
OTHERS = (
    *("second", "third", "fourth", "fifth", "sixth"),
    *("halves", *(f"halves{n}" for n in range(2, 10))),
    *("replay2", "replay3", "replay4"),
)
"""Policies of further training runs: as the first; two updates a step; value replay."""


@dataclass(frozen=True)
class Arm:
    """One way to search. `policy` names who is asked; None: nobody is."""

    name: str
    policy: str | None
    overrides: tuple[str, ...]
    rounds: int = SHORT


def arms() -> list[Arm]:
    """Short searches: who proposes, who was trained how. Long ones: more to select from."""
    return [*short_arms(), *long_arms()]


def short_arms() -> list[Arm]:
    """Nobody is asked; the trained policy proposes at each rl_weight, or only believes; the others likewise."""
    random = ("proposer=random",)
    found = [
        Arm("stock", None, (*random, *ONE_BY_ONE, "selection.c_ucb=0")),
        Arm("random edits, w=0", None, (*random, "rl_weight=0")),
    ]
    for policy in ("trained", "grpo", "untrained"):
        found += [Arm(f"{policy}, w={w}", policy, (f"rl_weight={w}",)) for w in WEIGHTS]
        found += [Arm(f"random edits, {policy} Q, w={w}", policy, (*random, f"rl_weight={w}")) for w in WEIGHTS[1:]]
    found += [Arm(f"replay, w={w}", "replay", (f"rl_weight={w}",)) for w in (0, 0.5, 1)]
    return [*found, *(Arm(f"{policy}, w=0", policy, ("rl_weight=0",)) for policy in OTHERS)]


def long_arms() -> list[Arm]:
    """Searches of 20 rounds, and stock ones of 30, which cost about as much as guided ones of 20."""
    random, stock = ("proposer=random",), ("proposer=random", *ONE_BY_ONE, "selection.c_ucb=0")
    weighted = {f"w={w}": (f"rl_weight={w}",) for w in WEIGHTS}
    varied = {
        "w=0, no UCB bonus": ("rl_weight=0", "selection.c_ucb=0"),
        **{f"w=0, temperature {heat}": ("rl_weight=0", f"policy.temperature={heat}") for heat in (1.3, 1.6)},
        "w=0, no experience": ("rl_weight=0", "experience_entries=0"),
        **{f"w={w}, drawn again": (f"rl_weight={w}", "redraws=8") for w in (0, 0.5, 1)},
    }
    return [
        Arm("stock, 20 rounds", None, stock, LONG),
        Arm("random edits, w=0, 20 rounds", None, (*random, "rl_weight=0"), LONG),
        *(
            Arm(f"{policy}, {name}, 20 rounds", policy, keys, LONG)
            for policy in ("trained", "replay")
            for name, keys in {**weighted, **varied}.items()
        ),
        Arm("stock, 30 rounds", None, stock, LONGER),
    ]


def folder_name(name: str) -> str:
    """An arm's name, fit for a folder."""
    return re.sub(r"[^\w.=]+", "_", name)


@contextmanager
def served(folder: Path, log: Path, flags: Sequence[str] = ()) -> Iterator[str]:
    """The address of a vLLM server of the folder; its process group is ended on the way out."""
    cpu = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(folder), "--served-model-name", "policy"]
    flags = ["--host", "127.0.0.1", "--port", str(PORT), "--enforce-eager", "--max-model-len", "4096", *flags]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, *flags], stdout=out, stderr=out, start_new_session=True, env=os.environ | cpu
        )
    address = f"http://127.0.0.1:{PORT}/v1"
    try:
        _wait_for(address, server, log)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/models").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(1.0)
    raise SystemExit(f"the server did not start, see {log}")


def sweep(arm: Arm, seeds: int, out: Path, address: str | None) -> None:
    """Run the arm's searches that are missing."""
    guide = () if address is None else (f"policy.base_url={address}", "policy.model=policy")
    grid = (*COMMON, f"rounds={arm.rounds}", *arm.overrides, *guide, f"seed=range(1,{seeds + 1})")
    run_sweep(arm, grid, out, jobs=1)


def run_sweep(arm: Arm, grid: Sequence[str], out: Path, jobs: int) -> None:
    """`aflow-env sweep` over the grid, in the arm's folder; finished searches are skipped."""
    where = ("--out", str(out / folder_name(arm.name)), "--jobs", str(jobs))
    subprocess.run([sys.executable, "-m", "aflow_env.cli", "sweep", *where, *grid], check=True, stdout=sys.stderr)


def measured(arm: Arm, run: Path) -> dict[str, Any]:
    """One line of data: what a finished search found, and what it cost."""
    with closing(ReadOnlyStore(run / "run.sqlite")) as store:
        report, nodes = last_report(store), overview(store)["nodes"]
        if report is None:
            raise SystemExit(f"{run} has no closing report: its search did not finish")
        policy = store.read(
            "SELECT count(*), coalesce(sum(input_tokens + output_tokens), 0) FROM completions WHERE model = 'policy'"
        )[0]
        return {
            "arm": arm.name,
            "rounds": arm.rounds,
            "seed": int(json.loads(str(store.meta("config")))["seed"]),
            "start": report["start"]["score"],
            "best_validate": report["best"]["score"],
            "test": report["test"]["score"],
            "n_validate": report["best"]["n"],
            "n_test": report["test"]["n"],
            "nodes": len(nodes),
            "rejected": rejections(store),
            "executor_calls": sum(node["calls"] for node in nodes),
            "executor_usd": sum(node["cost_usd"] for node in nodes),
            "expanded": len({node["parent"] for node in nodes}) - 1,
            "policy_calls": policy[0],
            "policy_tokens": policy[1],
            "path": [(node["round"], round(node["score"], 4), node["calls"]) for node in nodes],
        }


def main(
    policy: Annotated[list[str] | None, typer.Option(help="NAME=DIR of a policy (aflow-env export-policy).")] = None,
    only: Annotated[str, typer.Option(help="A regular expression: the arms to run.")] = "",
    seeds: Annotated[int, typer.Option(min=2)] = 12,
    out: Annotated[Path, typer.Option(help="Run folders.")] = Path("runs/guidance"),
    results: Annotated[Path, typer.Option(help="The data; lines of arms that did not run are kept.")] = RESULTS,
) -> None:
    """Run the arms over the seeds, and write the data."""
    out.mkdir(parents=True, exist_ok=True)
    folders = dict(each.split("=", 1) for each in policy or [])
    planned = [arm for arm in arms() if re.search(only, arm.name) and (arm.policy is None or arm.policy in folders)]
    for arm in planned:
        if arm.policy is None:
            sweep(arm, seeds, out, None)
    for name, folder in folders.items():
        with served(Path(folder), out / f"{name}.log") as address:
            for arm in planned:
                if arm.policy == name:
                    sweep(arm, seeds, out, address)
    collect(planned, out, results)


def collect(planned: list[Arm], out: Path, results: Path) -> None:
    """Write a line for every finished search of these arms; lines of other arms stay."""
    names = {arm.name for arm in planned}
    kept = results.read_text().splitlines() if results.is_file() else []
    lines = [line for line in kept if json.loads(line)["arm"] not in names]
    lines += [
        json.dumps(measured(arm, store.parent))
        for arm in planned
        for store in sorted((out / folder_name(arm.name)).glob("*/run.sqlite"))
    ]
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} searches in {results}")


if __name__ == "__main__":
    typer.run(main)
