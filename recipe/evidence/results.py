# SPDX-License-Identifier: Apache-2.0
"""docs/results.md from the stored data, byte for byte: `python -m recipe.evidence.results > docs/results.md`."""

import json
from pathlib import Path
from typing import Any

from recipe.evidence import gpu_results, learning_results, real_results
from recipe.evidence.guided_results import guidance
from recipe.evidence.paired import by_arm

DATA = Path(__file__).with_name("results")
HEAD = """\
# Results

Made from `recipe/evidence/results/` by `python -m recipe.evidence.results > docs/results.md`. A few figures are not in
these data and were read elsewhere: those marked so, the cost of a training (its closing table), the 10.5 GiB and 18,420
tokens/s of the training on a GPU (`aflow-env plan`). Keys that a row names may be gone (see "Tried, gave nothing").
"""
REAL = """
## A real search: GSM8K by Qwen2.5-Coder-0.5B

Nothing is simulated: the executor is a real Qwen2.5-Coder-0.5B behind vLLM's OpenAI server, greedy, on two CPU cores.
Twelve rounds of uniform random edits by the rule implementer (`rl_weight=0`, nobody guides), {n} validate
problems, from a workflow that asks for the bare answer. One run with one seed: an example, not evidence for an effect.

    vllm serve QWEN05B --served-model-name qwen05b --dtype bfloat16 --max-model-len 4096 --max-num-batched-tokens 32768
    aflow-env search task=gsm8k task.path=GSM8K executor=openai executor.base_url=http://127.0.0.1:8000/v1 \\
        executor.model=qwen05b executor.prices=free executor.send_seed=false executor.concurrency=32 \\
        executor.max_tokens=512 \\
        rl_weight=0 proposer=random rounds=12 limit=40 task.validate_size=40 task.test_size=100 seed=0 run_dir=gsm8k
    aflow-env baselines ... --run gsm8k

| round | from | score | n | calls | output tokens | edit |
|---|---|---|---|---|---|---|
"""


def interval(found: dict[str, Any]) -> str:
    """Score and interval of an evaluation."""
    low, high = found["ci95"]
    return f"{found['score']:.3f} [{low:.3f}, {high:.3f}]"


def real_search(search: dict[str, Any], baselines: dict[str, Any]) -> str:
    """The section on the real search: every node, the test of the best, the baselines beside it."""
    nodes = search["nodes"]
    lines = [
        f"| {node['round']} | {node['parent'] or '-'} | {interval(node)} | {node['n']} | {node['calls']} | "
        f"{node['tokens']['output']:,} | {node['modification']} |"
        for node in nodes
    ]
    best, test = search["best"], search["test"]
    said = (
        f"\nThe best workflow, round {best['round']}, scores {interval(test)} on {test['n']} test problems that the "
        "search never saw.\n\n"
        f"The manual workflows and the found one on the same {baselines['baselines'][0]['n']} {baselines['split']} "
        "problems (the found one was chosen on validate problems, so there its score is biased upwards):\n\n"
        "| workflow | score | calls | output tokens |\n|---|---|---|---|\n"
    )
    table = [
        f"| {each['name']} | {interval(each)} | {each['calls']} | {each['tokens']['output']:,} |"
        for each in baselines["baselines"]
    ]
    *manual, found = baselines["baselines"]
    top = max(manual, key=lambda each: each["score"])
    read = (
        f"\nThe best manual workflow, {top['name']}, scores {interval(top)} at {top['calls']} calls, the found one "
        f"{interval(found)} at {found['calls']}: with {found['n']} problems these cannot be told apart. The found one "
        f"was measured twice on them, with {best['tokens']['output']:,} output tokens in the search and "
        f"{found['tokens']['output']:,} here: the server is not bitwise repeatable.\n"
    )
    return REAL.format(n=nodes[0]["n"]) + "\n".join(lines) + "\n" + said + "\n".join(table) + "\n" + read


ENDPOINTS = """
## Both SDKs on one real server

The same short search twice, through vLLM's two endpoints, with the same real model, greedy: two rounds of random
edits on {n} GSM8K validate problems (`aflow-env search ... executor=anthropic executor.send_temperature=true
executor.base_url=http://127.0.0.1:8000` and `executor=openai executor.send_seed=false
executor.base_url=http://127.0.0.1:8000/v1`).

| endpoint | scores of rounds 1, 2, 3 | test | input tokens | output tokens |
|---|---|---|---|---|
"""


def endpoints(found: dict[str, Any]) -> str:
    """The section on the two wire formats."""
    lines = []
    for name, search in found.items():
        nodes = search["nodes"]
        tokens = [sum(node["tokens"][kind] for node in nodes) for kind in ("input", "output")]
        scores = ", ".join(f"{node['score']:.3f}" for node in nodes)
        test = f"{interval(search['test'])}, n={search['test']['n']}"
        lines.append(f"| {name} | {scores} | {test} | {tokens[0]:,} | {tokens[1]:,} |")
    return ENDPOINTS.format(n=next(iter(found.values()))["nodes"][0]["n"]) + "\n".join(lines) + "\n"


def read(name: str) -> Any:
    """The data of a results file: one JSON object, or one a line."""
    lines = DATA / f"{name}.jsonl"
    if lines.is_file():
        return [json.loads(line) for line in lines.read_text().splitlines()]
    return json.loads((DATA / f"{name}.json").read_text())


def page() -> str:
    """All of docs/results.md."""
    searches, beliefs, steps = by_arm(read("guidance")), read("beliefs"), read("gpu")
    qwen = [step for step in steps if step["run"] == "qwen"]
    return "".join(
        (
            HEAD,
            guidance(searches, beliefs),
            learning_results.section(read("learning")),
            gpu_results.section(steps),
            real_results.section(read("real"), read("real_baselines"), qwen),
            real_search(read("gsm8k_search"), read("gsm8k_baselines")),
            endpoints(read("endpoints")),
        )
    )


if __name__ == "__main__":
    print(page(), end="")
