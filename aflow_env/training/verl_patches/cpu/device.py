# SPDX-License-Identifier: Apache-2.0
"""The `torch.cuda`-like namespace of a CPU: torch.cpu, and the other calls that verl makes on a device module.

`CpuPlatform.device_module` is this module. Memory is that of this process: allocated is its resident set, the maximum
is its peak, reserved equals allocated because nothing is pooled. There is one device. Its index is "cpu", since verl
writes `.to(device_id)`. All calls are synchronous.
"""

import resource
from types import SimpleNamespace

import psutil
import torch
from torch.cpu import *  # noqa: F403


def get_device_name(device: object = None) -> str:
    return "cpu"


def get_device_properties(device: object = None) -> SimpleNamespace:
    return SimpleNamespace(name="cpu", total_memory=psutil.virtual_memory().total)


def nothing(*arguments: object, **keywords: object) -> None:
    """Do nothing: there is no allocator to set, no cache to empty, no peak to reset."""


empty_cache = ipc_collect = set_per_process_memory_fraction = nothing
reset_peak_memory_stats = reset_accumulated_memory_stats = nothing


def memory_allocated(device: object = None) -> int:
    return int(psutil.Process().memory_info().rss)


def max_memory_allocated(device: object = None) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


memory_reserved, max_memory_reserved = memory_allocated, max_memory_allocated


def memory_stats(device: object = None) -> dict[str, int]:
    return {}


def mem_get_info(device: object = None) -> tuple[int, int]:
    """Return free and total memory of the machine, in bytes."""
    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


manual_seed = manual_seed_all = torch.manual_seed


def get_rng_state(device: object = None) -> torch.Tensor:
    return torch.get_rng_state()


def set_rng_state(state: torch.Tensor, device: object = None) -> None:
    torch.set_rng_state(state)
