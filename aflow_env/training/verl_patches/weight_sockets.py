# SPDX-License-Identifier: Apache-2.0
"""Give each of two trainings on one machine a weight socket of its own.

Mends verl 0.9.1: the socket in /tmp by which a trainer sends new weights to its vLLM is named after the Ray job, and
the first job of every Ray cluster has the same id. Two runs on one machine, each with a Ray of its own (a sweep with
`hydra.launcher.jobs=2`), that sync at the same moment open one socket and wait for each other for ever. Here the
address of the cluster is part of the name, at both ends.
"""

import os
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import ray


def sender(module: ModuleType) -> None:
    """Patch the trainer's end: verl's `ServerAdapter`."""
    _after_init(module.ServerAdapter, rename)


def receiver(module: ModuleType) -> None:
    """Patch vLLM's end: verl's `vLLMHttpServer`, whose engine's workers take the name from the environment."""
    _after_init(module.vLLMHttpServer, announce)


def rename(adapter: Any) -> None:
    """Put this run's name for the Ray job's in the adapter's socket."""
    job = ray.get_runtime_context().get_job_id()
    if job not in adapter.zmq_handle:
        raise RuntimeError(
            f"verl's socket {adapter.zmq_handle} is not named after the Ray job {job}: another verl than 0.9.1?"
        )
    adapter.zmq_handle = adapter.zmq_handle.replace(job, _own_name(), 1)


def announce(_: Any) -> None:
    """Put this run's name into the environment of the engine's workers, which this process starts later."""
    os.environ["VERL_RAY_JOB_ID"] = _own_name()


def _own_name() -> str:
    """Return the Ray job with the address of its cluster, which differs between clusters on one machine."""
    context = ray.get_runtime_context()
    return f"{context.get_job_id()}-{context.gcs_address.replace(':', '-')}"


def _after_init(kind: type, then: Callable[[Any], None]) -> None:
    original = kind.__init__  # type: ignore[misc]

    @wraps(original)
    def both(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        then(self)

    kind.__init__ = both  # type: ignore[misc]
