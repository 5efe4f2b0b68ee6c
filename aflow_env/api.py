# SPDX-License-Identifier: Apache-2.0
"""A search from Python, and what it found: `aflow_env.search`, `aflow_env.asearch`, `aflow_env.load`.

Keys are those of the command line. A group is named by its value (`executor="openai"`); a key below it comes in a dict
(`executor={"kind": "openai", "model": "m"}`) or by its dotted name (`**{"executor.model": "m"}`). The synchronous
functions also work where an event loop runs, as in a notebook: they work in a thread of their own there.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.override_parser.types import Quote, QuotedString

from aflow_env.cli.options import open_reading, search_config
from aflow_env.cli.verbs.evaluate import named
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.search.answering import WorkflowAnswer, answering, apart
from aflow_env.search.assemble import Assembly
from aflow_env.search.closing import report
from aflow_env.search.session import Session, Turn
from aflow_env.store.findings import all_nodes, best_node, last_report, spent_usd, stopped, workflow_of
from aflow_env.tasks.base import Problem
from aflow_env.tasks.own import is_own
from aflow_env.workflow.program import Workflow

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")
GROUPS = {"task": "name", "executor": "kind", "implementer": "kind"}
"""Groups of the config, and the key by which a dict names one."""


@dataclass(frozen=True)
class SearchRound:
    """A round that has ended, as `on_round` hears of it. `score` is None where the proposal was rejected."""

    number: int
    of: int
    score: float | None
    best: float
    modification: str
    cost_usd: float


@dataclass(frozen=True)
class FoundWorkflow:
    """A workflow that can be called: `workflow(problem)` runs it in the sandbox with the executor of `config`."""

    graph: str
    prompts: str
    config: AflowConfig = field(repr=False, compare=False)

    def __call__(
        self, problem: str, *, entry_point: str | None = None, public_tests: Sequence[str] = (), sample: int = 0
    ) -> WorkflowAnswer:
        """Answer one problem. `entry_point` and `public_tests` are for code tasks; `sample` draws anew.

        Raises InfrastructureError when the executor cannot be had, BudgetExhausted when `budget` is spent.
        """
        return _blocking(self.answer(problem, entry_point=entry_point, public_tests=public_tests, sample=sample))

    async def answer(
        self, problem: str, *, entry_point: str | None = None, public_tests: Sequence[str] = (), sample: int = 0
    ) -> WorkflowAnswer:
        """Answer one problem, as calling it does, within an event loop."""
        asked = Problem("", problem, "", entry_point, tuple(public_tests))
        return (await self._answers([asked], sample))[0]

    def map(self, problems: Sequence[str]) -> list[WorkflowAnswer]:
        """Answer problems side by side, in order; `aflow-env run` does it for a file, resumably."""
        return _blocking(self._answers([Problem("", problem, "") for problem in problems], 0))

    async def _answers(self, problems: Sequence[Problem], sample: int) -> list[WorkflowAnswer]:
        with TemporaryDirectory(prefix="aflow-env-") as folder:
            async with answering(apart(self.config, folder), Workflow(self.graph, self.prompts)) as answer:
                return list(await asyncio.gather(*(answer(problem, sample) for problem in problems)))


@dataclass(frozen=True)
class FoundNode:
    """An evaluated workflow of a run; the names are those of `aflow-env show --json`."""

    session: str
    round: int
    parent: int | None
    digest: str
    score: float
    ci95: tuple[float, float]
    n: int
    modification: str
    outcomes: Mapping[str, int]
    cost_usd: float
    tokens: Mapping[str, int]
    calls: int
    workflow: FoundWorkflow = field(repr=False)


@dataclass(frozen=True)
class FoundRun:
    """What a run holds: its nodes, the best of them, why it stopped, what it cost and the score on test problems."""

    run_dir: Path
    config: AflowConfig = field(repr=False)
    nodes: Sequence[FoundNode] = field(repr=False)
    best: FoundNode
    stopped: str | None
    test: Mapping[str, Any] | None
    cost_usd: float

    def frame(self) -> "pandas.DataFrame":
        """Return the nodes as a table, one row each. Raises ConfigError where pandas is missing."""
        if find_spec("pandas") is None:
            raise ConfigError("pandas is not installed: pip install pandas, or use run.nodes")
        import pandas

        return pandas.DataFrame([{**asdict(node), "workflow": node.workflow.graph} for node in self.nodes])


OnRound = Callable[[SearchRound], object]


def search(*, on_round: OnRound | None = None, **keys: Any) -> FoundRun:
    """Search for a better workflow, or go on with the run in `run_dir`; the same as `aflow-env search`.

    `on_round` is called after each round. Raises ConfigError for a wrong key, InfrastructureError when the executor
    cannot be had; every round that ended is on disk then.
    """
    return _blocking(asearch(on_round=on_round, **keys))


async def asearch(*, on_round: OnRound | None = None, **keys: Any) -> FoundRun:
    """Search within an event loop; otherwise as `search`."""
    config = search_config(overrides(keys))
    assembly = await Assembly.open(config)

    def told(session: Session, turn: Turn) -> None:
        if on_round:
            score, best = turn.node.score if turn.node else None, session.tree.best().score
            spent = assembly.budget.totals.spent.usd
            modification = turn.ended.modification
            on_round(SearchRound(session.tree.played, config.rounds, score, best, modification, spent))

    try:
        await assembly.play(told)
        await report(assembly)
    finally:
        await assembly.aclose()
    return load(config.run_dir)


def load(run_dir: str | PathLike[str], **keys: Any) -> FoundRun:
    """Open a run that a search made. `keys` change the config with which its workflows are called.

    Raises ConfigError where there is no run, or where it holds no evaluated workflow yet.
    """
    folder = Path(run_dir)
    config, _ = named(folder, overrides(keys))
    with open_reading(folder) as store:
        best, ends, said = best_node(store), stopped(store), last_report(store)
        assert best is not None  # `named` found it

        def found(node: dict[str, Any]) -> FoundNode:
            program = workflow_of(store, node["digest"])
            return FoundNode(
                **{**node, "ci95": tuple(node["ci95"])}, workflow=FoundWorkflow(program.graph, program.prompts, config)
            )

        return FoundRun(
            run_dir=folder,
            config=config,
            nodes=tuple(map(found, all_nodes(store))),
            best=found(best),
            stopped=ends.get(best["session"]),
            test=said["test"] if said else None,
            cost_usd=spent_usd(store),
        )


def overrides(keys: Mapping[str, Any]) -> list[str]:
    """Return the command line's `key=value` of Python's keys. A dict of a group chooses the group that it names."""
    flat = dict(_leaves(keys, ""))
    chosen = {}
    for group, key in GROUPS.items():
        name = flat.pop(group, None) or flat.get(f"{group}.{key}")
        if group == "task" and isinstance(name, str) and is_own(name):
            chosen[group], flat["task.name"] = "own", name
        elif name is not None:
            chosen[group] = str(name)
    return [*(f"{key}={value}" for key, value in chosen.items()), *(f"++{k}={_written(v)}" for k, v in flat.items())]


def _leaves(keys: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in keys.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(value: object) -> str:
    """Return a value in Hydra's grammar. Raises ConfigError for one that no key takes."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, str | PathLike):
        return QuotedString(text=str(value), quote=Quote.single).with_quotes()
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_written, value))}]"
    raise ConfigError(f"{value!r} is no value of a key: give a text, a number, True, False, None, a list or a dict")


def _blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine to its end, in a thread where this one has a running loop. An interrupt ends it at once."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    cancel: list[Callable[[], object]] = []

    async def beside() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(asyncio.run, beside())
        try:
            return future.result()
        except BaseException:
            for stop in cancel:
                stop()
            raise
