# SPDX-License-Identifier: Apache-2.0
"""Two Ray nodes on this machine, real searches (SIMULATED executor, real sandbox) that ask one owner, and kills.

Whatever is killed, the run ends with the very tree of a run that nothing happened to; what was told stays told, and the
ledger has charged for every answer that is on file once.
"""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aflow_env.cli.compose import change, load
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.llm.budget import Ceiling, Ledger, Spend, Totals
from aflow_env.llm.client import Completion, Request
from aflow_env.llm.simulated import executor as simulated
from aflow_env.llm.simulated.executor import SimulatedClient
from aflow_env.search.assemble import Assembly
from aflow_env.search.proposals.proposal import RandomProposer
from aflow_env.search.session import SearchProblem, session_seed
from aflow_env.store.node_rows import Rejection
from aflow_env.store.shared import Parts
from aflow_env.store.store import SessionKey, Store
from tests.search.quick import PROBLEMS, START, Quick

ray = pytest.importorskip("ray", reason="needs Ray: make setup")
cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray: make setup")
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from aflow_env.training.nodes.owner import check_shared, join, owner_name, parts_of, share, start  # noqa: E402

pytestmark = pytest.mark.real

SETTINGS = ("rl_weight=0", "q.kind=none", "proposer=random", "rounds=10", "limit=6", "task.validate_size=6")
LIMITS = (
    "budget.calls=100000",
    "executor.concurrency=4",
    "executor.tokens_per_minute=100000000",
    "shared=ray",
    "executor.mode=record",
)
SESSIONS = 3
TABLES = ("nodes", "evaluations", "completions")
QUICK_TO_NOTICE = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
    "health_check_initial_delay_ms": 500,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head node, which this process drives; it is alone until a test adds another."""
    small = {"num_cpus": 4, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = cluster_utils.Cluster(
        initialize_head=True, head_node_args={**small, "_system_config": QUICK_TO_NOTICE}, shutdown_at_exit=False
    )
    try:
        ray.init(address=made.address, log_to_driver=False)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


async def play(config: AflowConfig, parts: Parts | None) -> int:
    """Some sessions side by side, as an agent loop worker plays them; how many rounds they have."""
    assembly = await Assembly.open(config, parts=parts)
    try:
        search = assembly.search(RandomProposer(config.task.instructions), None, "validate")
        problems = [
            SearchProblem(SessionKey(f"p{config.seed}-{k}"), session_seed(config.seed, k), assembly.start())
            for k in range(SESSIONS)
        ]
        return sum(session.tree.played for session in await asyncio.gather(*map(search.play, problems)))
    finally:
        await assembly.aclose()


class Slow(SimulatedClient):
    """Answers after 10 ms, so that a kill finds calls in flight."""

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(0.01)
        return await super().complete(request)


@ray.remote(num_cpus=1, max_retries=3)
def worker(config: AflowConfig) -> int:
    """Stands for an agent loop worker; it leaves its pid where the test finds it."""
    simulated.SimulatedClient = Slow  # type: ignore[misc]
    (Path(config.run_dir) / f"pid-{config.seed}-{os.getpid()}").touch()
    parts = join(config)
    assert parts is not None
    return asyncio.run(play(config, parts))


def configs(folder: Path) -> list[AflowConfig]:
    """Two workers of one run; their seeds differ, so that they ask nothing that the other asks."""
    folder.mkdir(parents=True, exist_ok=True)
    base = change(load(SETTINGS), (f"run_dir={folder}", *LIMITS))
    return [change(base, (f"seed={seed}",)) for seed in (1, 2)]


def rows(folder: Path) -> dict[str, set[tuple[object, ...]]]:
    with closing(sqlite3.connect(folder / "run.sqlite")) as database:
        return {name: set(database.execute(f"SELECT * FROM {name}")) for name in TABLES}


def wait_for_rounds(folder: Path, count: int) -> None:
    """Until so many rounds of seed 2's sessions are told."""
    deadline = time.monotonic() + 60
    with closing(sqlite3.connect(folder / "run.sqlite")) as database:
        while database.execute("SELECT count(*) FROM nodes WHERE session LIKE 'p2%'").fetchone()[0] < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def digest(folder: Path) -> str:
    with closing(Store(folder / "run.sqlite")) as store:
        return store.digest()


def totals(folder: Path, later: float = 0.0) -> Totals:
    """The ledger as it will stand so many seconds from now."""
    ledger = Ledger(folder / "ledger.sqlite", clock=lambda: time.time() + later)
    with closing(ledger):
        return ledger.totals()


def kept_cost(folder: Path) -> Spend:
    """What the answers on file cost, each once."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as database:
        sql = "SELECT round(sum(cost_usd) * 1e12), sum(input_tokens + output_tokens), count(*) FROM completions"
        return Spend(*map(int, database.execute(sql).fetchone()))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the same sessions, played in this process with the files open."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for config in configs(folder):
        asyncio.run(play(config, None))
    assert totals(folder).spent == kept_cost(folder)
    return digest(folder)


def test_an_owner_that_is_killed_is_back_and_nothing_is_lost_or_charged_twice(
    cluster: Any, tmp_path: Path, undisturbed: str
) -> None:
    both = configs(tmp_path)
    owner = start(both[0])
    playing = [worker.remote(config) for config in both]
    ray.get(owner.answer.remote([]))
    pids = []
    for told in (4, 12):
        wait_for_rounds(tmp_path, told)
        table = ray._private.state.actors()
        (pid,) = [each["Pid"] for each in table.values() if each["Name"] == owner_name(both[0])]
        before = rows(tmp_path)
        os.kill(pid, signal.SIGKILL)
        ray.get(owner.answer.remote([]))
        after = rows(tmp_path)
        assert all(before[name] <= after[name] for name in TABLES)
        pids.append(pid)
    assert len(set(pids)) == 2, "it was killed, and killed again after it had come back"
    assert ray.get(playing) == [SESSIONS * 10] * 2
    assert digest(tmp_path) == undisturbed
    assert totals(tmp_path) == Totals(kept_cost(tmp_path), Spend(), Spend()), "each answer on file was charged once"
    print(f"owner killed twice: {kept_cost(tmp_path).calls} calls, each charged once")


def test_a_node_that_dies_loses_nothing_that_was_told_and_its_sessions_go_on_elsewhere(
    cluster: Any, tmp_path: Path, undisturbed: str
) -> None:
    both = configs(tmp_path)
    owner = start(both[0])
    ray.get(owner.answer.remote([]))
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    elsewhere = NodeAffinitySchedulingStrategy(node.node_id, soft=True)
    playing = [worker.remote(both[0]), worker.options(scheduling_strategy=elsewhere).remote(both[1])]
    wait_for_rounds(tmp_path, 8)
    before = rows(tmp_path)
    (lost,) = tmp_path.glob("pid-2-*")
    cluster.remove_node(node, allow_graceful=False)  # SIGKILL of its raylet
    os.kill(int(lost.name.rpartition("-")[2]), signal.SIGKILL)  # a machine takes its processes with it
    at_the_kill = totals(tmp_path)
    assert ray.get(playing, timeout=60) == [SESSIONS * 10] * 2
    assert len(list(tmp_path.glob("pid-2-*"))) == 2, "its sessions were played again by another process"
    after = rows(tmp_path)
    assert all(before[name] <= after[name] for name in TABLES), "what was told is lost, or changed"
    assert digest(tmp_path) == undisturbed
    kept, at_last = kept_cost(tmp_path).calls, totals(tmp_path, later=3600.0)
    assert at_last.certain.calls <= kept <= at_last.certain.calls + at_last.uncertain.calls
    assert at_last.reserved == Spend(), "what the dead had set aside is not set aside for ever"
    assert at_last.uncertain.calls <= both[1].executor.concurrency, "only what was in flight is in doubt"
    assert at_the_kill.spent.calls <= at_last.spent.calls
    print(f"node killed: {kept} calls on file, {at_last.certain.calls} charged, {at_last.uncertain.calls} in doubt")


async def test_a_reservation_is_made_once_and_handed_back_by_who_gives_up(cluster: Any, tmp_path: Path) -> None:
    config = configs(tmp_path)[0]
    parts = parts_of(start(config), config)
    ceiling = Ceiling(calls=3)
    ticket = await parts.ledger.reserve(Spend(5, 5, 1), ceiling, 60.0)
    assert ticket is not None
    given_up = asyncio.ensure_future(parts.ledger.reserve(Spend(5, 5, 1), ceiling, 60.0))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    await parts.ledger.settle(ticket, Spend(1, 1, 1))
    await parts.ledger.settle(ticket, Spend(1, 1, 1))
    assert totals(tmp_path) == Totals(Spend(1, 1, 1), Spend(), Spend())


async def test_workers_that_come_to_the_same_workflow_at_once_run_it_once(cluster: Any, tmp_path: Path) -> None:
    config = configs(tmp_path)[0]
    owner, evaluators = start(config), [Quick(partial(asyncio.sleep, 0.3)) for _ in range(3)]
    for evaluator in evaluators:  # each with a line of its own, as processes have
        parts = parts_of(owner, config)
        evaluator.cache, evaluator.turns = parts.store, parts.turn
    scores = await asyncio.gather(*(evaluator.evaluate(START, PROBLEMS) for evaluator in evaluators))
    assert sorted(evaluator.runs for evaluator in evaluators) == [0, 0, len(PROBLEMS)]
    assert len({(each.score, each.cost_usd) for each in scores}) == 1


async def test_what_a_call_raises_is_raised_where_it_was_asked_and_holds_nobody_up(
    cluster: Any, tmp_path: Path
) -> None:
    config = configs(tmp_path)[0]
    owner = start(config)
    store = parts_of(owner, config).store
    early, known = store.set_state(SessionKey("x"), 1), store.open_session(SessionKey("x"), "arithmetic")
    await early
    assert (await known).ended == ()
    with pytest.raises(ValueError, match="open the session first"):
        await store.record(SessionKey("never"), Rejection(2, 1, "edit", "text", "why"))
    ray.kill(owner)
    with pytest.raises(InfrastructureError, match="owner of the run's store"):
        await store.open_session(SessionKey("y"), "arithmetic")
    with pytest.raises(InfrastructureError, match="is gone"):
        join(config)


def test_the_trainer_decides_who_opens_the_files_and_tells_the_agent_loops(cluster: Any, tmp_path: Path) -> None:
    aflow = configs(tmp_path)[0].model_copy(update={"shared": "auto"})

    def run(workers: int) -> Any:
        agent = {"num_workers": workers}
        return OmegaConf.create({"aflow": {}, "actor_rollout_ref": {"rollout": {"agent": agent}}})

    alone = run(1)
    assert share(alone, aflow) is None
    assert alone.aflow.shared == "local"
    with pytest.raises(ConfigError, match=r"no run\.sqlite of the driver's"):
        share(run(2), aflow)
    with closing(Store(tmp_path / "run.sqlite")) as store:
        store.set_meta("config", "{}")
    several = run(2)
    assert share(several, aflow) is not None
    assert several.aflow.shared == "ray"


def test_what_several_nodes_rule_out_is_said_before_ray_starts(tmp_path: Path) -> None:
    aflow = configs(tmp_path)[0]
    check_shared(aflow.model_copy(update={"shared": "local"}), 1)
    with pytest.raises(ConfigError, match=r"aflow\.shared=local on 2 nodes"):
        check_shared(aflow.model_copy(update={"shared": "local"}), 2)
    batched = aflow.model_copy(update={"executor": aflow.executor.model_copy(update={"batch": True})})
    with pytest.raises(ConfigError, match=r"aflow\.executor\.batch=true"):
        check_shared(batched, 2)
