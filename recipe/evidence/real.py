# SPDX-License-Identifier: Apache-2.0
"""Compare stock AFlow with a guided search, with a real model as executor.

    vllm serve QWEN05B --served-model-name qwen05b --port 8077 --dtype bfloat16 --max-model-len 4096
    python -m recipe.evidence.real gsm8k GSM8K --policy trained=DIR --executor http://127.0.0.1:8077/v1 --model qwen05b

Each arm is an `aflow-env sweep` over the same seeds, on the first validate problems and, for the chosen workflow, the
first test problems, which all seeds share. Seeds differ in proposals and selection. All searches share a cache of
completions. Tokens are those of each search alone. A policy (see NAMES) has two arms, rl_weight 0 and 0.5. Finished
searches are skipped, so a run that was cut resumes. Manual workflows (`aflow-env baselines`) are scored once on the
same test problems. The committed searches also had `racing.delta=0.05` and `racing.block=20`, keys that are deleted:
they did not finish workflows that selection would ignore.

The servers of executor and policies may share a GPU: `--serve '--gpu-memory-utilization 0.1'` for the policies'.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.findings import overview
from recipe.evidence.guidance import AS_TRAINED, Arm, folder_name, measured, run_sweep, served

RESULTS = Path("recipe/evidence/results/real.jsonl")
BASELINES = "real_baselines.jsonl"
"""Beside RESULTS."""
MANUAL = {"gsm8k": "IO,CoT,CoT-SC x5,Program", "humaneval": "IO,CoT,CoT-SC x5"}
ROUNDS = 8
COMMON = (
    f"rounds={ROUNDS}",
    *("executor=openai", "executor.prices=free", "executor.send_seed=false", "executor.concurrency=32"),
    *("executor.max_tokens=512", "executor.accept_empty=true"),  # a small model says nothing at times
    *("executor.timeout_seconds=3000", "sandbox.wall_seconds=3600"),
)
STOCK = Arm("stock", None, ("proposer=random", *ONE_BY_ONE, "selection.c_ucb=0"), ROUNDS)
QWEN = ("failed_cases=0", "experience_entries=4", "state_characters=3000", "policy.max_tokens=192")
NAMES = {
    "trained": AS_TRAINED,  # the tiny policy after `make train`: it saw the embedded task alone
    "tiny, trained here": AS_TRAINED,  # the tiny policy after training on this task's train problems with this executor
    "qwen": QWEN,  # Qwen2.5-Coder-0.5B as it is
    "qwen, trained here": QWEN,  # ... and after training on this task's train problems with this executor
}
"""Policies, and the settings of their states, as in their training."""


def arms(policies: Sequence[str]) -> list[Arm]:
    """Return stock AFlow, and each policy as proposer with rl_weight 0.5 and 0."""
    return [
        STOCK,
        *(Arm(f"{name}, w={w}", name, (*NAMES[name], f"rl_weight={w}"), ROUNDS) for name in policies for w in (0.5, 0)),
    ]


def line(task: str, arm: Arm, run: Path) -> dict[str, Any]:
    """Return a finished search's row: its result, scores by round, and the executor's tokens."""
    with closing(ReadOnlyStore(run / "run.sqlite")) as store:
        nodes = overview(store)["nodes"]
        report = measured(arm, run)
    tokens = {kind: sum(node["tokens"][kind] for node in nodes) for kind in ("input", "output")}
    return {"task": task, **report, "tokens": tokens, "scores": [(n["round"], n["score"], n["n"]) for n in nodes]}


def baselines(task: str, keys: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Score the manual workflows on the test problems: name, score, interval of problems at large, calls, tokens."""
    command = [sys.executable, "-m", "aflow_env.cli", "baselines", "--split", "test", "--json"]
    found = subprocess.run(
        [*command, "--only", MANUAL[task], f"run_dir={folder / 'baselines'}", *keys], check=True, stdout=subprocess.PIPE
    )
    return [{"task": task, **each} for each in json.loads(found.stdout)["baselines"]]


def replace_task(file: Path, task: str, lines: Sequence[dict[str, Any]]) -> None:
    """Write these lines of a task; those of other tasks are kept."""
    kept = file.read_text().splitlines() if file.is_file() else []
    kept = [each for each in kept if json.loads(each)["task"] != task]
    file.write_text("".join(f"{each}\n" for each in (*kept, *(json.dumps(line) for line in lines))))


def main(
    task: Annotated[str, typer.Argument(help="gsm8k, humaneval, ...")],
    data: Annotated[Path, typer.Argument(help="The folder with validate.jsonl and test.jsonl.")],
    policy: Annotated[list[str], typer.Option(help=f"NAME=DIR (aflow-env export-policy). Names: {', '.join(NAMES)}.")],
    executor: Annotated[str, typer.Option(help="Address of the server that runs the workflows.")],
    model: Annotated[str, typer.Option(help="The name that the server gives its model.")],
    validate: Annotated[int, typer.Option(min=1, help="Problems to search on.")] = 40,
    test: Annotated[int, typer.Option(min=1, help="Problems for the chosen workflow.")] = 100,
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Searches at a time.")] = 3,
    serve: Annotated[str, typer.Option(help="Further flags of the policies' `vllm serve`.")] = "",
    out: Annotated[Path, typer.Option(help="Run folders, and the cache.")] = Path("runs/real"),
    results: Annotated[Path, typer.Option(help="The data; lines of other tasks are kept.")] = RESULTS,
) -> None:
    """Run the arms over the seeds, and write the data of all searches that are finished."""
    folders = dict(each.split("=", 1) for each in policy)
    if strange := sorted(set(folders) - set(NAMES)):
        raise typer.BadParameter(f"{strange}: a policy is NAME=DIR with a name of {list(NAMES)}")
    folder = (out / task).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    where = (f"task={task}", f"task.path={data.resolve()}", f"cache={out.resolve() / 'cache'}")
    sizes = (f"limit={validate}", f"task.validate_size={validate}", f"task.test_size={test}")
    asked = (f"executor.base_url={executor}", f"executor.model={model}")
    fixed = (*COMMON, *sizes, *where, *asked)
    grid = (*fixed, f"seed=range(1,{seeds + 1})")
    run_sweep(STOCK, (*grid, *STOCK.overrides), folder, jobs)
    for name in folders:
        with served(Path(folders[name]), folder / f"{folder_name(name)}.log", shlex.split(serve)) as address:
            guide = (f"policy.base_url={address}", "policy.model=policy")
            for arm in arms([name])[1:]:
                run_sweep(arm, (*grid, *arm.overrides, *guide), folder, jobs)
    stores = ((arm, (folder / folder_name(arm.name)).glob("*/run.sqlite")) for arm in arms(list(NAMES)))
    lines = [line(task, arm, store.parent) for arm, found in stores for store in sorted(found)]
    replace_task(results, task, lines)
    replace_task(results.with_name(BASELINES), task, baselines(task, fixed, folder))
    print(f"{len(lines)} searches of {task} in {results}")


if __name__ == "__main__":
    typer.run(main)
