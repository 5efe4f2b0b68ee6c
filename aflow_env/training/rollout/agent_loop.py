# SPDX-License-Identifier: Apache-2.0
"""The agent loop `aflow_search`: it plays one search for verl and returns one row a round.

verl makes one agent-loop object a session, `rollout.n` a search problem, all in one event loop of an AgentLoopWorker.
The sessions of a worker share store, sandbox, clients and problems, which are opened on first use. Several workers ask
the owner (owner.py) for the parts that all of them share.
"""

import asyncio
import time
from types import ModuleType
from typing import Any

import httpx
from verl.experimental.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics

from aflow_env.config import AflowConfig, parse
from aflow_env.search.assemble import Assembly
from aflow_env.search.session import SearchProblem, session_seed, session_summary
from aflow_env.store.store import SessionKey
from aflow_env.training.launch.log_lines import mark_warnings
from aflow_env.training.nodes.owner import join
from aflow_env.training.rollout import rollout_rows as rows
from aflow_env.training.rollout.policy import Asked, RolloutPolicy, steps_behind, weights_version


class Shared:
    """The parts that all sessions of this process share; the first session opens them."""

    assembly: Assembly | None = None
    http: httpx.AsyncClient | None = None
    lock = asyncio.Lock()
    asked: tuple[tuple[int, bool], Asked] = ((-1, False), {})

    @classmethod
    async def open(cls, config: AflowConfig, policy: RolloutPolicy) -> Assembly:
        async with cls.lock:
            if cls.assembly is None:
                cls.assembly = await Assembly.open(config, generate=policy.complete, parts=join(config))
            return cls.assembly

    @classmethod
    def predictions(cls, step: int, training: bool) -> Asked:
        """Return the value questions that the weights of a step's training, or of its validation, were asked."""
        if cls.asked[0] != (step, training):
            cls.asked = (step, training), {}
        return cls.asked[1]


class AflowSearchLoop(AgentLoopBase):
    """Play `aflow.rounds` rounds for one (search problem, session) and turn them into training rows."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        """Return one output per value question and per round, the last round last.

        Raises InfrastructureError when an evaluation could not be scored, and as `check_played` does. verl then leaves
        this session out and goes on with the rest of its group.
        """
        config, problem = parse(self.config.aflow), row["extra_info"]
        split, number, step = problem["split"], str(row["session_id"]), int(row["global_steps"])
        training = split == "train"
        Shared.http = Shared.http or httpx.AsyncClient(timeout=600.0)
        policy = RolloutPolicy(
            server=self.server_manager,
            tokenizer=self.tokenizer,
            config=config,
            sampling=sampling_params,
            request_id=f"{row['uid']}-{number}",
            prompt_length=self.rollout_config.prompt_length,
            temperature=self.rollout_config.temperature,
            http=Shared.http,
            template=self.apply_chat_template_kwargs,
            asked=Shared.predictions(step, training),
        )
        assembly = await Shared.open(config, policy)
        weights = weights_version(config, steps_behind(step, training))
        playing = config.on_policy if training else config
        search = assembly.search(policy, policy, split, problem["seed"], version=weights, config=playing)
        draws = session_seed(config.seed, split, problem["seed"], number, step if training else 0)
        key = SessionKey(f"{split}/{row['uid']}", problem["seed"], number, step)
        began = time.monotonic()
        session = await search.play(SearchProblem(key=key, seed=draws, start=assembly.start(problem["start"])))
        seconds = time.monotonic() - began
        rows.check_played(session, config)
        edits = rows.edit_rows(session, config)
        judged = await rows.judge(session, policy) if training and config.q.rows else []
        made = [*rows.value_rows(judged, session, draws), *edits]
        outputs = [self._output(each, len(session.turns)) for each in made]
        if outputs:
            outputs[-1].extra_fields["session"] = session_summary(session) | {
                "return": sum(each.step_reward for each in edits),
                "seed": problem["seed"],
                "seconds": seconds,
                "predictions": rows.predictions_made(judged),
                "predict_seconds": policy.predict_seconds,
            }
        return outputs

    def _output(self, row: rows.TrainingRow, turns: int) -> AgentLoopOutput:
        limit, version = self.rollout_config.response_length, row.tokens.version
        response = list(row.tokens.response_ids[:limit])
        fields = {name: getattr(row, name) for name in ("kind", "anchor", "step_index", "step_reward")}
        return AgentLoopOutput(
            prompt_ids=list(row.tokens.prompt_ids),
            response_ids=response,
            response_mask=[1] * len(response),
            response_logprobs=list(row.tokens.log_probs[:limit]),
            num_turns=turns,
            metrics=AgentLoopMetrics(),
            extra_fields={**fields, "min_global_steps": version, "max_global_steps": version, "session": {}},
        )


def register(agent_loops: ModuleType) -> None:
    """Add the agent loop to verl's registry, and let the workers that play it mark the package's warnings."""
    mark_warnings()
    agent_loops.agent_loop.register("aflow_search")(AflowSearchLoop)
