# SPDX-License-Identifier: Apache-2.0
"""docs/results.md from the stored data, byte for byte: `python -m recipe.evidence.results > docs/results.md`.

Intervals are 95 % percentile bootstraps over seeds with a fixed seed of their own; differences are paired by seed, and
their p-values come from a two-sided sign-flip permutation test. Nothing is corrected for the number of arms.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

DATA = Path(__file__).with_name("results")
BASELINE = "stock"
RESAMPLES = 9999
INTRODUCTION = """\
# Results

Made from `recipe/evidence/results/` by `python -m recipe.evidence.results > docs/results.md`.

## Does a policy's guidance help? The embedded task, SIMULATED executor

The executor is simulated: these figures say something about the search and the policy, nothing about any LLM. Searches
of {rounds} rounds on {validate} generated arithmetic problems; the score is that of the chosen workflow on {test} test
problems that the search never saw; {seeds} seeds an arm, paired by seed. `stock` is AFlow: uniform random edits, its
selection, no UCB bonus. `untrained` is the tiny policy after its warm start, which draws edits uniformly and knows
nothing of which help; `trained` is the same policy after one `make train` (22 GiGPO steps on other problems of the same
task and landscape, so what is measured is whether what it learnt carries over to new searches). `w` is `rl_weight`.
Arms with "random edits" let the policy steer the selection (Q) at most, while edits stay uniform.

"""
CLOSING = """
`gain` is the mean paired difference to `stock`, with its interval and p-value; `relative` is gain / mean of `stock`.
Equal rounds are not equal cost: `executor calls` are those of all workflows of a search (better workflows have more
steps), `policy tokens` what the policy read and wrote for it.
"""


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high)."""
    sample = np.asarray(values)
    if np.ptp(sample) == 0:
        return float(sample[0]), float(sample[0]), float(sample[0])
    found = bootstrap((sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return float(sample.mean()), float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the mean difference under exchange within pairs."""

    def statistic(sample: NDArray[np.float64], axis: int) -> Any:
        return np.mean(sample, axis=axis)

    found = permutation_test(
        (np.asarray(differences),),
        statistic,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def guidance(rows: Sequence[dict[str, Any]]) -> str:
    """The section on guidance: one line an arm, the best first."""
    arms: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        arms.setdefault(row["arm"], {})[row["seed"]] = row
    stock = {seed: row["test"] for seed, row in arms[BASELINE].items()}
    base = float(np.mean(list(stock.values())))
    head = INTRODUCTION.format(
        rounds=max(row["nodes"] + row["rejected"] for row in rows) - 1,
        validate=rows[0]["n_validate"],
        test=rows[0]["n_test"],
        seeds=min(map(len, arms.values())),
    )
    lines = [
        "| arm | n | test score | gain | relative | p | rejected | executor calls | policy tokens |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    means = {arm: float(np.mean([row["test"] for row in runs.values()])) for arm, runs in arms.items()}
    for arm in sorted(arms, key=lambda each: (-means[each], each)):
        runs = arms[arm]
        differences = [row["test"] - stock[seed] for seed, row in sorted(runs.items()) if seed in stock]
        score = "{:.3f} [{:.3f}, {:.3f}]".format(*mean_interval([row["test"] for _, row in sorted(runs.items())]))
        gain, relative, chance = "", "", ""
        if arm != BASELINE:
            difference = mean_interval(differences)
            gain = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference)
            relative, chance = f"{difference[0] / base:+.0%}", f"{sign_flip(differences):.4f}"

        def mean(key: str, runs: dict[int, dict[str, Any]] = runs) -> str:
            return f"{np.mean([row[key] for row in runs.values()]):,.1f}"

        cost = " | ".join(map(mean, ("rejected", "executor_calls", "policy_tokens")))
        lines.append(f"| {arm} | {len(runs)} | {score} | {gain} | {relative} | {chance} | {cost} |")
    return head + "\n".join(lines) + "\n" + CLOSING + what_it_says(arms)


def what_it_says(arms: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Three comparisons, paired by seed: training, the policy's edits, and its beliefs."""

    def compare(arm: str, to: str) -> str:
        differences = [row["test"] - arms[to][seed]["test"] for seed, row in sorted(arms[arm].items())]
        return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*mean_interval(differences)) + f", p {sign_flip(differences):.4f}"

    return f"""
What it says, and what not (all differences paired by seed, n searches an arm, **one** training run):

- Training helps: trained against untrained proposals, both at w=0: {compare("trained, w=0", "untrained, w=0")}.
- The gain is in the proposals. Steering the selection by Q adds little to it or nothing that could be told from chance:
  with trained proposals w=0.5 against w=0: {compare("trained, w=0.5", "trained, w=0")}; w=1 against w=0:
  {compare("trained, w=1", "trained, w=0")}. With random edits and the trained policy's Q, w=0.5 against w=0:
  {compare("random edits, trained Q, w=0.5", "random edits, w=0")}. In a tree of at most nine nodes whose best ones are
  found early there is little to select; longer searches were not measured.
- The untrained policy against random edits, both at w=0: {compare("untrained, w=0", "random edits, w=0")}. It was
  taught to draw edits as the random proposer does and has more of them rejected; whether that is all is not known.
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
        f"\nRounds that are missing were rejected and not run. The best workflow, round {best['round']}, scores "
        f"{interval(test)} on {test['n']} test problems that the search never saw.\n\n"
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
        f"{interval(found)} at {found['calls']}: with {found['n']} problems these cannot be told apart.\n"
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


if __name__ == "__main__":
    real = real_search(read("gsm8k_search"), read("gsm8k_baselines"))
    print(guidance(read("guidance")) + real + endpoints(read("endpoints")), end="")
