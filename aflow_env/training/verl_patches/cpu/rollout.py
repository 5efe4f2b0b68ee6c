# SPDX-License-Identifier: Apache-2.0
"""verl's vLLM rollout with the CPU worker extension, for verl's RolloutReplicaRegistry."""

from typing import Any

import ray
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica


class CpuServer(vLLMHttpServer):
    """verl's server actor; its engine's workers load weights the way that vLLM's CPU layers need."""

    def _get_worker_extension_cls(self) -> str:
        return "aflow_env.training.verl_patches.cpu.weights.CpuWorkerExtension"


class CpuReplica(vLLMReplica):
    """verl's replica with `CpuServer` for its server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(CpuServer)
