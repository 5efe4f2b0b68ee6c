# SPDX-License-Identifier: Apache-2.0
"""Names the weights of a policy that is trained and executes: what they score holds for those weights alone."""

from uuid import uuid4

from aflow_env.config import AflowConfig

ATTEMPT = uuid4().hex
"""Names this process: weights that are trained again after a kill are other weights, whatever their step."""


def steps_behind(global_steps: int, training: bool) -> int:
    """The training steps behind the weights that verl's rollout server has when it plays a row of `global_steps`.

    verl counts a step when it begins, hands its weights over when it ends and validates after that, under one number.
    """
    return global_steps - 1 if training else global_steps


def version(config: AflowConfig, steps: int) -> str:
    """The name of the weights after `steps` training steps; "" where the executor is no policy in training."""
    return f"{ATTEMPT}/{steps}" if config.executor.kind == "policy" else ""
