# SPDX-License-Identifier: Apache-2.0
"""Name the weights of a policy that is trained and executes, since its scores are valid for these weights alone."""

from uuid import uuid4

from aflow_env.config import AflowConfig

ATTEMPT = uuid4().hex
"""Names this process: weights that are trained again after a kill are other weights, whatever their step."""


def steps_behind(global_steps: int, training: bool) -> int:
    """Return how many training steps the rollout server's weights have when it plays a row of `global_steps`.

    verl counts a step when it begins. It syncs the weights at the step's end and validates after that.
    """
    return global_steps - 1 if training else global_steps


def version(config: AflowConfig, steps: int) -> str:
    """Return the name of the weights after `steps` training steps; "" where the executor is no policy in training."""
    return f"{ATTEMPT}/{steps}" if config.executor.kind == "policy" else ""
