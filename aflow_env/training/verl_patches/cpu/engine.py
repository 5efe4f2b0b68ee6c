# SPDX-License-Identifier: Apache-2.0
"""Register verl's FSDP2 engine and its vLLM rollout on a CPU, and open a process group there."""

from collections.abc import Callable
from types import ModuleType

from aflow_env.training.verl_patches.cpu.versions import require_known


def register_engines(transformer_impl: ModuleType) -> None:
    """Serve device "cpu" with verl's own FSDP2 engines, which are registered for cuda and npu alone.

    Strategy "fsdp" (FSDP1) stays unregistered: it refuses CPU modules (`sync_module_states`).

    Also mends the reference policy: verl builds forward-only engines with `CPUOffloadPolicy(pin_memory=True)`, and
    pinning memory needs an accelerator. On a CPU there is nothing to offload from, so the policy becomes none.
    """
    require_known("verl")
    transformer_impl.CPUOffloadPolicy = no_offload  # type: ignore[attr-defined]
    for model_type, engine in (
        ("language_model", transformer_impl.FSDPEngineWithLMHead),
        ("value_model", transformer_impl.FSDPEngineWithValueHead),
    ):
        transformer_impl.EngineRegistry.register(model_type=model_type, backend="fsdp2", device="cpu")(engine)


def no_offload(*, pin_memory: bool = True) -> None:
    """Return None as FSDP2's offload policy: parameters stay where they are."""


def use_gloo_alone(distributed: ModuleType) -> None:
    """Patch `verl.utils.distributed`: open the process group with backend "cpu:gloo".

    Mends verl 0.9.1: it asks for "cpu:gloo,<device>:<backend>", which on a CPU is "cpu:gloo,cpu:gloo", and torch 2.13
    refuses a device that is named twice.
    """
    require_known("verl")
    initialize: Callable[..., None] = distributed.initialize_global_process_group_ray

    def initialize_with_gloo(timeout_second: int | None = None, backend: str | None = None) -> None:
        initialize(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    distributed.initialize_global_process_group_ray = initialize_with_gloo  # type: ignore[attr-defined]


def register_rollout(replica: ModuleType) -> None:
    """Serve `rollout.name=vllm` with `CpuReplica`; vLLM is imported when verl first asks for the class."""

    def load() -> type:
        from aflow_env.training.verl_patches.cpu.rollout import CpuReplica

        return CpuReplica

    replica.RolloutReplicaRegistry.register("vllm", load)
