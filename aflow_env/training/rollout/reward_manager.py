# SPDX-License-Identifier: Apache-2.0
"""The reward manager `aflow`: hands verl the episode return of a session, and the numbers that reach its logs.

The rewards themselves are made where the session is played (`rl/reward.py`); verl's reward loop is where they enter the
trainer, so that `critic/score`, validation scores and verl's group filter see the return of the whole search.
"""

from types import ModuleType
from typing import Any

from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
from verl.protocol import DataProto

from aflow_env.training.trainer.metrics import extra_info


class AflowRewardManager(RewardManagerBase):
    """Episode return and extra info of one session of the agent loop `aflow_search`."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Return the sum of the session's step rewards. Raises ValueError for rows of another agent loop."""
        summary = data.non_tensor_batch["tool_extra_fields"][-1].get("session")
        if not summary:
            raise ValueError(
                "reward.reward_manager.name=aflow scores sessions of the agent loop aflow_search, and these rows "
                "come from another: set actor_rollout_ref.rollout.agent.default_agent_loop=aflow_search"
            )
        return {"reward_score": summary["return"], "reward_extra_info": extra_info(summary)}


def register(reward_managers: ModuleType) -> None:
    """Add the reward manager to verl's registry."""
    reward_managers.register("aflow")(AflowRewardManager)
