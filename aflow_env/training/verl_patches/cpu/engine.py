# SPDX-License-Identifier: Apache-2.0
"""Register verl's FSDP2 engine and its vLLM rollout on a CPU, with a process group and log-probabilities for it."""

from collections.abc import Callable
from types import ModuleType

import torch

from aflow_env.training.verl_patches.cpu import require_known

CHUNK = 512
"""Rows of logits whose log-probabilities are taken at a time."""


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


def by_chunks(torch_functional: ModuleType) -> None:
    """Patch `verl.utils.torch_functional`, which calls the function by its name there.

    Mends verl 0.9.1: without flash-attention's kernel it takes the log-softmax of a packed row token by token, forward
    and backward, which is most of the tiny policy's update. The numbers are the same; a chunk bounds the memory as a
    token did.
    """
    require_known("verl")
    torch_functional.logprobs_from_logits_v2 = log_probs  # type: ignore[attr-defined]


def log_probs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each label; of shape (tokens,) or (rows, tokens), as the labels."""
    flat = zip(torch.split(logits.flatten(0, -2), CHUNK), torch.split(labels.flatten(), CHUNK), strict=True)
    return torch.cat([_chunk(*each) for each in flat]).view(labels.shape)


def _chunk(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """As verl: logsumexp saves memory, and bfloat16 is too coarse for the difference."""
    places = labels_N.unsqueeze(-1)
    if logits_NV.dtype in (torch.float32, torch.float64):
        return logits_NV.gather(-1, places).squeeze(-1) - logits_NV.logsumexp(-1)
    return logits_NV.log_softmax(-1).gather(-1, places).squeeze(-1)
