# SPDX-License-Identifier: Apache-2.0
"""Choose the dtype that a processor multiplies fast, by its flags.

Without instructions for bfloat16 a product of two matrices runs in software: 1.3 GFLOPS on two AVX2 cores, against 110
in float32. Trainer, reference and rollout use one dtype, so that they give a token the same probability.
"""

from pathlib import Path
from typing import Literal

FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Flags of /proc/cpuinfo that stand for products in bfloat16."""
Dtype = Literal["bfloat16", "float32"]


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the flags of the first processor; none where the file does not say."""
    for line in cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def dtype(found: frozenset[str]) -> Dtype:
    """Return the dtype to compute in on a processor with these flags."""
    return "bfloat16" if found.intersection(FAST_BFLOAT16) else "float32"


def reason(found: frozenset[str]) -> str:
    """Return the dtype and why, for people."""
    fast = [name for name in FAST_BFLOAT16 if name in found]
    return f"{dtype(found)}, since the processor has {fast[0] if fast else 'neither ' + ' nor '.join(FAST_BFLOAT16)}"
