# SPDX-License-Identifier: Apache-2.0
"""One process owns the run's files, and the agent loops of all nodes ask it (docs/nodes.md).

A run's store and ledger are SQLite files in `run_dir`, a local folder that processes on other machines cannot open. So
in a run of several processes the trainer starts an `Owner`, a Ray actor on its own node, and each agent loop worker
asks it over a `Line`. The owner is the only writer while agent loops play, and it acknowledges nothing that is not on
file. Its memory has leases alone (places of providers, turns), which every process reports again. Ray starts a killed
owner again, and it goes on from the files. It ends with the trainer.
"""

from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from omegaconf import DictConfig, OmegaConf
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aflow_env.config import AflowConfig, LLMConfig
from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.llm.leases import BEAT, LeasedPlaces, Leases, Renew
from aflow_env.llm.provider_limits import ProviderLimits
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.shared import Parts
from aflow_env.training.nodes.line import Call, Failure, Line, RemoteLedger, RemotePart

SETTLING = 4 * BEAT
"""Seconds after a restart in which every process reports its places."""


class Owner:
    """The parts of a run, asked by name. One batch is answered after the other."""

    def __init__(self, config: AflowConfig) -> None:
        parts = Parts.local(config, later=False)
        again = ray.get_runtime_context().was_current_actor_reconstructed
        self._parts = {
            "store": parts.store,
            "recording": parts.recording,
            "cache": parts.cache,
            "ledger": parts.ledger,
            "leases": Leases(SETTLING if again else 0.0),
        }

    def answer(self, calls: Sequence[Call]) -> list[Any]:
        """Return the result of each call, or a Failure with its error. A failed call stops no other."""
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> Any:
        try:
            return getattr(self._parts[call.part], call.method)(*call.arguments)
        except Exception as error:
            return Failure(error)


def start(config: AflowConfig) -> Any:
    """Start the run's owner on this node. It ends when the handle is dropped. `run_dir` gives its name in Ray."""
    here = ray.get_runtime_context().get_node_id()
    actor = ray.remote(Owner).options(
        name=owner_name(config),
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    )
    return actor.remote(config)


def parts_of(owner: Any, config: AflowConfig) -> Parts:
    """Return the parts of a run that a search needs, each asked of the owner."""
    line, process = Line(owner), uuid4().hex
    store: Any = RemotePart(line, "store")
    recording: Any = RemotePart(line, "recording") if config.recording else None
    cache: Any = RemotePart(line, "cache") if config.cache else None

    def renew(name: str, places: int) -> Renew:
        async def ask(held: int, wanted: int) -> int:
            may: int = await line.ask("leases", "renew", name, places, process, held, wanted)
            return may

        return ask

    def limits(node: LLMConfig, role: str) -> ProviderLimits:
        return ProviderLimits(node, role, renew(f"{node.kind} {node.base_url}", node.concurrency))

    def turn(workflow: str) -> LeasedPlaces:
        return LeasedPlaces(renew(workflow, 1))

    return Parts(store, RemoteLedger(line), recording, cache, limits, turn, close=lambda: None)


def join(config: AflowConfig) -> Parts | None:
    """Return the owner's parts, or None where each process opens the files itself. Raises InfrastructureError."""
    if config.shared != "ray":
        return None
    try:
        return parts_of(ray.get_actor(owner_name(config)), config)
    except ValueError as error:
        raise InfrastructureError(f"the run's owner ({owner_name(config)}) is gone, and the run with it") from error


def share(config: DictConfig, aflow: AflowConfig) -> Any:
    """Decide for the trainer which process opens the run's files, and write it into the config that agent loops get.

    Return the handle of a started owner, or None. Raises ConfigError when several nodes rule the config out, or when
    the files are not the ones that the driver checked.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    check_shared(aflow, len(nodes))
    several = len(nodes) > 1 or config.actor_rollout_ref.rollout.agent.num_workers > 1
    shared = aflow.shared == "ray" or (aflow.shared == "auto" and several)
    OmegaConf.update(config, "aflow.shared", "ray" if shared else "local", force_add=True)
    if not shared:
        return None
    _same_files(aflow)
    return start(aflow)


def check_shared(aflow: AflowConfig, nodes: int) -> None:
    """Raise ConfigError for a config that several nodes rule out. `nodes` is how many there are, or will be."""
    if nodes < 2:
        return
    if aflow.shared == "local":
        raise ConfigError(
            f"aflow.shared=local on {nodes} nodes: a node cannot open another's run.sqlite, so each would search and "
            "pay for itself; set aflow.shared=auto"
        )
    for role, node in (("executor", aflow.executor), ("implementer.llm", aflow.implementer.llm)):
        if node is not None and node.batch:
            raise ConfigError(
                f"aflow.{role}.batch=true on {nodes} nodes: the ids of batches are kept in a file of the node that "
                f"sent them, and would be lost with it; set aflow.{role}.batch=false"
            )


def owner_name(config: AflowConfig) -> str:
    """Return the actor's name in Ray, which no other run of the cluster has."""
    return f"aflow_owner_{sha256(config.run_dir.encode()).hexdigest()[:16]}"


def _same_files(config: AflowConfig) -> None:
    """Check that the trainer finds the store against which the driver checked the config."""
    path = Path(config.run_dir) / "run.sqlite"
    if path.is_file():
        with closing(ReadOnlyStore(path)) as store:
            if store.meta("config") is not None:
                return
    raise ConfigError(
        f"aflow.run_dir={config.run_dir}: the trainer runs on {ray.util.get_node_ip_address()}, and there is no "
        "run.sqlite of the driver's. Give the driver's node a CPU in Ray, so that the trainer is placed there, or name "
        "a run_dir (an absolute path) on a file system that both nodes see"
    )
