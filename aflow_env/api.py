# SPDX-License-Identifier: Apache-2.0
"""Search from Python, and use the workflows: `aflow_env.search`, `aflow_env.asearch`, `aflow_env.load`.

Keys are the command line's. A text chooses a group (`executor="openai"`). A dict (`executor={"kind": "openai",
"model": "m"}`) or a dotted name (`**{"executor.model": "m"}`) sets keys in it. Where an event loop runs, as in a
notebook, the synchronous functions work in their own thread.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.from_thread import start_blocking_portal
from hydra.core.override_parser.types import Quote, QuotedString

from aflow_env.cli.arguments import search_config, store_of
from aflow_env.cli.progress import search_log
from aflow_env.cli.use.answering import WorkflowAnswer, answering
from aflow_env.cli.verbs.evaluate import named
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import report
from aflow_env.search.session import SearchSession, Turn
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.findings import all_nodes, best_node, last_report, spent_usd, stopped, workflow_of
from aflow_env.tasks.own import is_own
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import Workflow

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")
GROUPS = {"task": "name", "executor": "kind", "implementer": "kind"}
"""Groups of the config, and the key in a dict that chooses one."""


@dataclass(frozen=True)
class SearchRound:
    """A round that has ended, for `on_round`. `score` is None when the proposal was rejected.

    `cost_usd` is the run's cost so far, None when a price is unknown.
    """

    number: int
    of: int
    score: float | None
    best: float
    modification: str
    cost_usd: float | None


@dataclass(frozen=True)
class FoundWorkflow:
    """A callable workflow: `workflow(problem)` runs it in the sandbox with the executor of `config`."""

    graph: str
    prompts: str
    config: AflowConfig = field(repr=False, compare=False)

    def __call__(self, problem: str, **more: Any) -> WorkflowAnswer:
        """Answer one problem, as `answer` does."""
        return _blocking(self.answer(problem, **more))

    async def answer(
        self, problem: str, *, entry_point: str | None = None, public_tests: Sequence[str] = (), sample: int = 0
    ) -> WorkflowAnswer:
        """Answer one problem. `entry_point` and `public_tests` are for code tasks. Another `sample` is a new draw.

        Raises InfrastructureError when the executor fails, BudgetExhausted when `budget` is spent.
        """
        async with answering(self.config, Workflow(self.graph, self.prompts), temporary=True) as answer:
            return await answer(Problem("", problem, "", entry_point, tuple(public_tests)), sample)


@dataclass(frozen=True)
class FoundNode:
    """An evaluated workflow of a run, with the names of `aflow-env show --json`."""

    session: str
    round: int
    parent: int | None
    digest: str
    score: float
    ci95: Sequence[float]
    n: int
    modification: str
    outcomes: Mapping[str, int]
    cost_usd: float
    truncated: int
    unpriced: int
    tokens: Mapping[str, int]
    calls: int
    q: float | None
    workflow: FoundWorkflow = field(repr=False)


@dataclass(frozen=True)
class FoundRun:
    """A run: its nodes, the best of them, the rule that stopped it, its score on test problems, its cost.

    `cost_usd` is None when a price is unknown.
    """

    run_dir: Path
    nodes: Sequence[FoundNode] = field(repr=False)
    best: FoundNode
    stopped: str | None
    test: Mapping[str, Any] | None
    cost_usd: float | None

    def frame(self) -> "pandas.DataFrame":
        """Return a table with one row a node. Raises ConfigError when pandas is missing."""
        if find_spec("pandas") is None:
            raise ConfigError("pandas is not installed: pip install pandas, or use run.nodes")
        import pandas

        return pandas.DataFrame([{**asdict(node), "workflow": node.workflow.graph} for node in self.nodes])


def search(*, on_round: Callable[[SearchRound], object] | None = None, **keys: Any) -> FoundRun:
    """Search for a better workflow, or resume the run in `run_dir`, as `aflow-env search` does.

    `on_round` is called after each round. Raises ConfigError for a wrong key, InfrastructureError when the executor
    fails. Every round that ended is on disk.
    """
    return _blocking(asearch(on_round=on_round, **keys))


async def asearch(*, on_round: Callable[[SearchRound], object] | None = None, **keys: Any) -> FoundRun:
    """Search as `search` does, within an event loop."""
    config = search_config(overrides(keys))
    assembly = await Assembly.open(config)

    def ended(session: SearchSession, turn: Turn) -> None:
        log.ended(session, turn)
        if on_round:
            score, tree, spent = turn.node.score if turn.node else None, session.tree, assembly.budget.totals.spent
            usd = None if spent.unpriced else spent.usd
            on_round(SearchRound(tree.played, config.rounds, score, tree.best().score, turn.ended.modification, usd))

    try:
        with search_log(assembly) as log:
            await assembly.play(ended)
            log.end(await report(assembly), logging.getLogger(__name__).info)
    finally:
        await assembly.aclose()
    return load(config.run_dir)


def load(run_dir: str | PathLike[str], **keys: Any) -> FoundRun:
    """Open a run. `keys` change the config with which its workflows are called.

    Raises ConfigError when there is no run, or no evaluated workflow in it.
    """
    config, _ = named(Path(run_dir), overrides(keys))
    with ReadOnlyStore(store_of(Path(run_dir))) as store:

        def found(node: dict[str, Any]) -> FoundNode:
            program = workflow_of(store, node["digest"])
            return FoundNode(**node, workflow=FoundWorkflow(program.graph, program.prompts, config))

        best = found(best_node(store) or {})
        nodes, ends, said = tuple(map(found, all_nodes(store))), stopped(store), last_report(store) or {}
        return FoundRun(Path(run_dir), nodes, best, ends.get(best.session), said.get("test"), spent_usd(store))


def overrides(keys: Mapping[str, Any]) -> list[str]:
    """Return Python's keys as the command line's `key=value`."""
    flat, chosen = dict(_leaves(keys, "")), []
    for group, key in GROUPS.items():
        name = flat.pop(group, None) or flat.get(f"{group}.{key}")
        if group == "task" and is_own(str(name)):
            name, flat["task.name"] = "own", str(name)
        chosen += [f"{group}={name}"] if name else []
    return [*chosen, *(f"++{key}={_written(key, value)}" for key, value in flat.items())]


def _leaves(keys: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in keys.items():
        yield from _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]


def _written(key: str, value: Any) -> str:
    """Return a value in Hydra's grammar. Raises ConfigError for one that has no place in a config."""
    if isinstance(value, str | PathLike):
        return QuotedString(text=str(value), quote=Quote.single).with_quotes()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(key, each) for each in value)}]"
    try:
        return json.dumps(value.item() if hasattr(value, "item") else value)  # numpy's scalars have `item`
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}={value!r}: {error}; give text, a number, a bool, None, a list or a dict") from None


def _blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine, in another thread if this one has a running loop. An interrupt ends it at once."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with start_blocking_portal() as portal:
        done: Future[T] = portal.start_task_soon(lambda: work)
        while not done.done():
            wait((done,), timeout=0.2)  # an interrupt does not end a wait without timeout
        return done.result()
