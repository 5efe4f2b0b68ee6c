# SPDX-License-Identifier: Apache-2.0
"""Both clients run a whole search against a server that nobody here wrote: vLLM's own endpoints, on a CPU.

The model is the package's tiny policy, which is no language model: the scores are 0, and what is shown is that the wire
formats, the logs, the budget and the server's own counts agree.
"""

import asyncio
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.config import BudgetConfig, LLMConfig
from aflow_env.evaluation.attempt import Attempt
from aflow_env.evaluation.results import COUNTED
from aflow_env.llm import Budget, build_client
from aflow_env.llm.client import Message, Request
from aflow_env.search.assemble import Assembly
from aflow_env.search.prediction.served import serve_policy
from aflow_env.search.proposals.proposal import State
from aflow_env.search.session import SearchProblem, session_seed
from aflow_env.store.store import SessionKey
from aflow_env.tasks import Problem, load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.workflow.edits import InvalidEdit, NoChange, apply_edit, parse_edit
from aflow_env.workflow.operators import CodeResult
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import to_workflow
from tests.llm.helpers import KINDS

pytest.importorskip("vllm", reason="needs vllm: make setup")
pytestmark = pytest.mark.real

SECONDS = 180.0  # for the server to start on a busy machine
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
}  # fmt: skip
PR_SET_PDEATHSIG = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM serving the tiny policy as `tiny`; its whole process group ends with the tests."""
    from aflow_env.training.tiny_policy.build import cached_policy

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(cached_policy())),
        *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"),
        *("--max-model-len", "4096", "--max-num-batched-tokens", "32768", "--enforce-eager", "--max-logprobs", "20"),
        *("--generation-config", "vllm"),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | ENVIRONMENT,
            start_new_session=True,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # should pytest be killed
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, address, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not up yet
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"vLLM did not start; its log ends: {log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.3)


def counted(address: str) -> tuple[int, int]:
    """(requests, tokens) that the server says it has answered."""
    text = httpx.get(f"{address}/metrics", timeout=30).text
    names = {"requests": "request_success_total", "prompt": "prompt_tokens_total", "reply": "generation_tokens_total"}
    sums = {
        key: sum(float(each) for each in re.findall(rf"^vllm:{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
        for key, name in names.items()
    }
    return int(sums["requests"]), int(sums["prompt"] + sums["reply"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_search_on_vllm_and_the_books_of_both_sides_agree(server: str, kind: str, tmp_path: Path) -> None:
    base = f"{server}/v1" if kind == "openai" else server
    executor = [
        *(f"executor={kind}", f"executor.base_url={base}", "executor.model=tiny", "executor.temperature=0.7"),
        *(
            "executor.send_temperature=true",
            "executor.max_tokens=24",
            "executor.accept_empty=true",
            "budget.tokens=1000000",
        ),
    ]
    guided = ["rl_weight=0.5", "policy.model=tiny", f"policy.base_url={server}/v1", "policy.max_tokens=80"]
    if kind == "openai":
        executor += ["executor.send_seed=false"]
    config = load(
        [*executor, *guided, "rounds=3", "task.validate_size=4", f"run_dir={tmp_path}", "proposer=policy"], UNGUIDED
    )
    before = counted(server)
    assembly = await Assembly.open(config)
    try:
        policy = assembly.served()
        problem = SearchProblem(SessionKey("arithmetic", config.seed), session_seed(config.seed), assembly.start())
        session = await assembly.search(policy, policy, "validate").play(problem)
        totals = assembly.budget.totals
    finally:
        await assembly.aclose()
    after = counted(server)

    assert session.stopped == "rounds"
    assert session.tree.played == 3
    for node in session.tree:
        assert node.evaluation.n == 4
        assert set(node.evaluation.outcomes) <= set(COUNTED)
        assert node.evaluation.calls >= 4
    assert totals.uncertain.calls == 0
    assert (totals.certain.calls, totals.certain.tokens) == (after[0] - before[0], after[1] - before[1])


async def test_two_samples_of_one_question_differ_and_the_first_answer_is_the_greedy_one(server: str) -> None:
    """An ensemble on a real server votes on different answers, and a second run draws the same ones."""
    node = LLMConfig(
        kind="openai", model="tiny", base_url=f"{server}/v1", prices="free", max_tokens=16, accept_empty=True
    )
    runs: list[list[str]] = []
    for _ in range(2):
        client = build_client(node, budget=Budget(BudgetConfig()), log=None, seed=0)
        attempt = Attempt(Problem("p", "2 + 2?", "4"), 0)
        try:
            runs.append([await attempt.context(client, node, no_code).ask("2 + 2?", ()) for _ in range(4)])
        finally:
            await client.aclose()
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


async def no_code(code: str, function: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
    """Run nothing: these operators ask and that is all."""
    raise AssertionError(code)


@pytest.mark.parametrize("kind", KINDS)
async def test_vllm_holds_a_reply_to_its_fields(server: str, kind: str) -> None:
    base = f"{server}/v1" if kind == "openai" else server
    node = LLMConfig(kind=kind, model="tiny", base_url=base, prices="free", send_temperature=True, send_seed=False)
    client = build_client(node, budget=Budget(BudgetConfig()), log=None, seed=0)
    request = Request(messages=(Message(role="user", content="2 + 2?"),), max_tokens=40, fields=("answer",))
    try:
        reply = await client.complete(request)
    finally:
        await client.aclose()
    # the grammar allows white space without end, and that is what the tiny policy may write
    assert re.match(r'\s*\{\s*"answer"\s*:\s*("|$)', reply.text), reply.text


async def test_vllm_holds_proposals_to_the_edits_that_fit(server: str, tmp_path: Path) -> None:
    """At a temperature at which the tiny policy writes little sense; a reply that was cut is no edit."""
    guided = ["policy.model=tiny", f"policy.base_url={server}/v1", "policy.max_tokens=400", "policy.temperature=2"]
    fitting = {}
    for held in ("off", "auto"):
        config = load([*guided, f"policy.structured={held}", f"run_dir={tmp_path}", "rl_weight=0.5"], UNGUIDED)
        policy = serve_policy(config, Budget(BudgetConfig()), None)
        spec = load_task(config.task).spec
        state = State(to_workflow(start_steps(spec), spec), spec, 0.5, 4)
        replies = await asyncio.gather(*(policy.propose(state, seed) for seed in range(16)))
        await policy.aclose()
        whole = [reply.text for reply in replies if reply.text.rstrip().endswith("}")]
        fitting[held] = sum(fits(text, spec) for text in whole)
        if held == "auto":
            assert fitting[held] == len(whole) > 0, whole
    assert fitting["auto"] > fitting["off"]


def fits(text: str, spec: TaskSpec) -> bool:
    """Whether the text is an edit of the start workflow."""
    try:
        apply_edit(start_steps(spec), parse_edit(text), spec)
    except InvalidEdit as error:
        return isinstance(error, NoChange)
    return True
