# SPDX-License-Identifier: Apache-2.0
"""Arguments of several verbs: overrides of the config, a run, `--json`."""

from collections.abc import Sequence
from importlib.util import find_spec
from os.path import isfile
from pathlib import Path
from typing import Annotated, Any

import typer

from aflow_env.cli.compose import assigned, change, composed, load, values
from aflow_env.config import AflowConfig, plain
from aflow_env.errors import ConfigError
from aflow_env.store.findings import best_node, workflow_of
from aflow_env.store.settings import stored_config
from aflow_env.store.store import Store
from aflow_env.tasks import TASKS
from aflow_env.workflow.program import Workflow

UNGUIDED = ("proposer=random", "q.kind=surrogate")
"""A search alone has no trained policy: unless the user names one, edits are uniform and a ridge predicts them."""
ONE_BY_ONE = ("rl_weight=0", "lookahead.nodes=1", "lookahead.edits=1", "redraws=0")
"""A loop as AFlow's: select a node, draw one edit of it, evaluate it."""
AFLOW_ROUNDS = 20
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value of the aflow: node, Hydra's grammar")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder (the run_dir of a search), or its run.sqlite.")]


def search_config(overrides: Sequence[str], *defaults: str) -> AflowConfig:
    """Return the config of a search without a trainer, and without a policy unless it names one. Raises ConfigError.

    The composed config decides: a policy may come as `policy.base_url=...` or as `policy={base_url: ...}`.
    """
    policy = plain(composed(overrides)).get("policy")
    served = isinstance(policy, dict) and policy.get("base_url")
    return load(overrides, (*(() if served else UNGUIDED), *defaults))


def is_run(path: Path) -> bool:
    """Whether the path names a run."""
    return isfile(path / "run.sqlite") or (path.suffix == ".sqlite" and isfile(path))


def store_of(run: Path) -> Path:
    """Return the file of an existing run. Raises ConfigError without one."""
    if not is_run(run):
        raise ConfigError(f"{run}: there is no run.sqlite; name the run_dir of a search")
    return run if isfile(run) else run / "run.sqlite"


def best_of(store: Store, run: Path) -> tuple[dict[str, Any], Workflow]:
    """Return the best node of an open run and its workflow. Raises ConfigError where nothing was evaluated yet."""
    node = best_node(store)
    if node is None:
        raise ConfigError(f"{run} holds no evaluated workflow yet: go on with aflow-env resume {run}")
    return node, workflow_of(store, node["digest"])


def run_config(run: Path, overrides: list[str] | None) -> AflowConfig:
    """Return a run's saved config with the user's overrides, for the run's present folder.

    A run without a saved config takes all but its task from the overrides.
    """
    given = list(overrides or ())
    with Store(store_of(run)) as store:
        config, folder, tasks = stored_config(store), store.path.parent, set(store.sessions().values())
    if config is not None:
        return change(config, [assigned("run_dir", folder), *given])
    if "task" not in values(given) and tasks & TASKS.keys():
        given.append(f"task={min(tasks & TASKS.keys())}")
    return search_config([*given, assigned("run_dir", folder)], f"rounds={AFLOW_ROUNDS}")


def absent(library: str) -> ConfigError:
    """Return the error of a library of training that is not installed; a search runs without it."""
    hint = "training needs it: make setup, or pip install 'aflow-env[cpu]' or 'aflow-env[gpu]'"
    return ConfigError(f"{library} is not installed, and {hint}")


def needs(extra: str, *modules: str) -> None:
    """Check that an extra's modules are installed. Raises ConfigError that names the extra."""
    for module in modules:
        if find_spec(module) is None:
            raise ConfigError(f"{module} is not installed: pip install 'aflow-env[{extra}]'")
