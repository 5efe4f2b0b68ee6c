# SPDX-License-Identifier: Apache-2.0
"""Search with trained policies as proposers: the embedded task, a SIMULATED executor, equal rounds, paired by seed.

    python -m recipe.evidence.guidance --policy trained=DIR --policy untrained=DIR --seeds 12

Each arm is an `aflow-env sweep` over the same seeds. A seed decides the problems, the draws of the selection and the
executor's noise, so arms are compared within a seed. Policies are Hugging Face folders, served one after the other by
vLLM on a CPU. Arms without a named policy, and those that `--only` does not match, are left out. Finished searches are
skipped, so a run that was cut resumes. The endpoint is the chosen workflow's score on 60 test problems.
`recipe.evidence.results` turns the data into docs/results.md; arms of deleted keys are in the data alone.

The policies were trained on other problems of the same task and landscape. So this measures transfer to new searches,
not to another task.
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

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.findings import last_report, overview, rejections

AS_TRAINED = ("failed_cases=0", "experience_entries=4", "state_characters=1200", "policy.max_tokens=64")
"""The states of conf/aflow_gigpo_cpu.yaml, on which the tiny policy was trained."""
COMMON = ("limit=24", "task.validate_size=24", "task.test_size=60", "executor.mode=live", *AS_TRAINED)
PORT = 8078
RESULTS = Path("recipe/evidence/results/guidance.jsonl")
START_SECONDS = 300.0

SHORT, LONG = 8, 20
POLICIES = (
    *("trained", "second", "third", "fourth", "fifth", "sixth", "untrained"),
    *("halves", *(f"halves{n}" for n in range(2, 10))),
    *("replay", "replay2", "replay3", "replay4"),
)
"""Policies by training: one update a step, the warm start alone; two updates a step; value replay."""


@dataclass(frozen=True)
class Arm:
    """One way to search. `policy` is the name of the proposer, None for random edits."""

    name: str
    policy: str | None
    overrides: tuple[str, ...]
    rounds: int = SHORT


def arms() -> list[Arm]:
    """Return the arms: random edits, each policy's proposals, and 20 rounds with a changed key. No Q is followed."""
    random, plain = ("proposer=random",), ("rl_weight=0",)
    varied = {
        "w=0": (),
        "w=0, no UCB bonus": ("selection.c_ucb=0",),
        **{f"w=0, temperature {heat}": (f"policy.temperature={heat}",) for heat in (1.3, 1.6)},
        "w=0, no experience": ("experience_entries=0",),
        "w=0, drawn again": ("redraws=8",),
    }
    return [
        Arm("stock", None, (*random, *ONE_BY_ONE, "selection.c_ucb=0")),
        Arm("random edits, w=0", None, (*random, *plain)),
        *(Arm(f"{policy}, w=0", policy, plain) for policy in POLICIES),
        *(Arm(f"trained, {name}, 20 rounds", "trained", (*plain, *keys), LONG) for name, keys in varied.items()),
    ]


def folder_name(name: str) -> str:
    """Return an arm's name, fit for a folder."""
    return re.sub(r"[^\w.=]+", "_", name)


@contextmanager
def served(folder: Path, log: Path, flags: Sequence[str] = ()) -> Iterator[str]:
    """Yield the address of a vLLM server of the folder; end its process group afterwards."""
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
    """Return one row of data: the result and the cost of a finished search."""
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
