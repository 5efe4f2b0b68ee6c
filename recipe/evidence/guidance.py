# SPDX-License-Identifier: Apache-2.0
"""Does guidance by a policy help a search? The embedded task, a SIMULATED executor, equal rounds, paired by seed.

    python -m recipe.evidence.guidance --trained DIR --untrained DIR --seeds 12

Each arm is an `aflow-env sweep` over the same seeds: seed s decides the problems, the selection's draws and the
executor's noise, so arms are compared within a seed. Policies are Hugging Face folders, served one after the other by
vLLM on a CPU. Finished searches are skipped, so a run that was cut goes on. What counts is the chosen workflow's score
on 60 test problems that the search never saw; the executor's calls, and the tokens that the policy read and wrote, are
beside it. `recipe.evidence.results` turns the data into docs/results.md.

The policy was trained on other problems of the same task and on the same simulated landscape: what is measured is
whether what it learnt there carries over to new searches, not whether it would help on another task.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from aflow_env.search.findings import last_report, overview, rejections
from aflow_env.search.reading import ReadOnlyStore

COMMON = (
    "rounds=8",
    "limit=24",
    "task.validate_size=24",
    "task.test_size=60",
    "executor.mode=live",
    "failed_cases=0",
    "experience_entries=4",
    "state_characters=1200",
    "policy.max_tokens=64",
)
"""The states are cut as in conf/aflow_gigpo_cpu.yaml, on which the tiny policy was trained."""
PORT = 8078
START_SECONDS = 300.0


@dataclass(frozen=True)
class Arm:
    """One way to search. `policy` names who is asked; None: nobody is."""

    name: str
    policy: str | None
    overrides: tuple[str, ...]


def arms() -> list[Arm]:
    """Nobody is asked; the trained policy proposes at each rl_weight, or only believes; the untrained one likewise."""
    random = ("proposer=random",)
    found = [
        Arm("stock", None, (*random, "rl_weight=0", "selection.c_ucb=0")),
        Arm("random edits, w=0", None, (*random, "rl_weight=0")),
    ]
    for policy, weights, steered in (("trained", (0, 0.25, 0.5, 0.75, 1), (0.5, 1)), ("untrained", (0, 0.5), (0.5,))):
        found += [Arm(f"{policy}, w={w}", policy, (f"rl_weight={w}",)) for w in weights]
        found += [Arm(f"random edits, {policy} Q, w={w}", policy, (*random, f"rl_weight={w}")) for w in steered]
    return found


def folder_name(arm: Arm) -> str:
    """The arm's name, fit for a folder."""
    return re.sub(r"[^\w.=]+", "_", arm.name)


@contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    """The address of a vLLM server of the folder; its process group is ended on the way out."""
    cpu = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(folder), "--served-model-name", "policy"]
    flags = ["--host", "127.0.0.1", "--port", str(PORT), "--enforce-eager", "--max-model-len", "1024"]
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
    grid = (*COMMON, *arm.overrides, *guide, f"seed=range(1,{seeds + 1})")
    where = ("--out", str(out / folder_name(arm)), "--jobs", "1")
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
            "seed": int(json.loads(str(store.meta("config")))["seed"]),
            "start": report["start"]["score"],
            "best_validate": report["best"]["score"],
            "test": report["test"]["score"],
            "n_validate": report["best"]["n"],
            "n_test": report["test"]["n"],
            "nodes": len(nodes),
            "rejected": rejections(store),
            "executor_calls": sum(node["calls"] for node in nodes),
            "policy_calls": policy[0],
            "policy_tokens": policy[1],
        }


def main(
    trained: Annotated[Path, typer.Option(help="Folder of the trained policy (aflow-env export-policy).")],
    untrained: Annotated[Path, typer.Option(help="Folder of the policy as it was before training.")],
    seeds: Annotated[int, typer.Option(min=2)] = 12,
    out: Annotated[Path, typer.Option(help="Run folders.")] = Path("runs/guidance"),
    results: Annotated[Path, typer.Option(help="The data.")] = Path("recipe/evidence/results/guidance.jsonl"),
) -> None:
    """Run every arm over every seed and write the data."""
    out.mkdir(parents=True, exist_ok=True)
    planned = arms()
    for arm in planned:
        if arm.policy is None:
            sweep(arm, seeds, out, None)
    for name, folder in (("trained", trained), ("untrained", untrained)):
        with served(folder, out / f"{name}.log") as address:
            for arm in planned:
                if arm.policy == name:
                    sweep(arm, seeds, out, address)
    lines = [
        json.dumps(measured(arm, store.parent))
        for arm in planned
        for store in sorted((out / folder_name(arm)).glob("*/run.sqlite"))
    ]
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} searches in {results}")


if __name__ == "__main__":
    typer.run(main)
