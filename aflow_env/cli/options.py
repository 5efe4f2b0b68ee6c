# SPDX-License-Identifier: Apache-2.0
"""What several verbs take: overrides of the config, a run, `--json`."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from omegaconf import OmegaConf

from aflow_env.cli.compose import change, composed, load, values
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.store.read_only import ReadOnlyStore
from aflow_env.store.settings import stored_config
from aflow_env.store.store import Store
from aflow_env.tasks import TASKS

UNGUIDED = ("proposer=random", "q.kind=surrogate")
"""A search alone has no trained policy: unless the user names one, edits are uniform and a ridge predicts them."""
AFLOW_ROUNDS = 20
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value of the aflow: node, Hydra's grammar")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder (the run_dir of a search), or its run.sqlite.")]


def search_config(overrides: Sequence[str], *defaults: str) -> AflowConfig:
    """The config of a search without a trainer: without a policy, unless it names a served one. Raises ConfigError.

    That is asked of the composed config: a policy may come as `policy.base_url=...` or as `policy={base_url: ...}`.
    """
    served = OmegaConf.select(composed(overrides), "policy.base_url")
    return load(overrides, (*(() if served else UNGUIDED), *defaults))


def is_run(path: Path) -> bool:
    """Whether the path names a run."""
    return (path / "run.sqlite").is_file() or (path.suffix == ".sqlite" and path.is_file())


@contextmanager
def open_run(run: Path) -> Iterator[Store]:
    """The store of an existing run. Raises ConfigError where there is none."""
    with closing(Store(_store_file(run))) as store:
        yield store


@contextmanager
def open_reading(run: Path) -> Iterator[ReadOnlyStore]:
    """The store of an existing run, to be read while a search may write it. Raises ConfigError where there is none."""
    with closing(ReadOnlyStore(_store_file(run))) as store:
        yield store


def _store_file(run: Path) -> Path:
    if not is_run(run):
        raise ConfigError(f"{run}: there is no run.sqlite; name the run_dir of a search")
    return run if run.is_file() else run / "run.sqlite"


def run_config(run: Path, overrides: list[str] | None) -> AflowConfig:
    """The config that a run was made with, in the folder where it is now, with the user's overrides.

    A run that keeps none takes all but its task from the overrides.
    """
    given = list(overrides or ())
    with open_run(run) as store:
        config, folder, tasks = stored_config(store), store.path.parent, set(store.sessions().values())
    if config is not None:
        return change(config, [f"run_dir={folder}", *given])
    if "task" not in values(given) and tasks & TASKS.keys():
        given.append(f"task={min(tasks & TASKS.keys())}")
    return search_config([*given, f"run_dir={folder}"], f"rounds={AFLOW_ROUNDS}")


def needs(extra: str, *modules: str) -> None:
    """Raises ConfigError naming the extra when one of its modules is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise ConfigError(f"{module} is not installed: pip install 'aflow-env[{extra}]'")
