# SPDX-License-Identifier: Apache-2.0
"""The trainer `aflow_sync`: verl's own PPO trainer, told about anchors and steps.

verl's estimators see token rewards, masks and group ids. GiGPO also needs each row's anchor, step index and step
reward, which the agent loop put beside the tokens. So `_compute_advantage` first fetches those, keeps them where the
estimator finds them, and lets verl's method do the rest: KL penalty, rollout correction and the write-back stay
verl's.

Four more things differ. verl counts mini-batches in rows, and a session of ours is many rows: `_rows_per_prompt`
scales that count, so that `ppo_mini_batch_size` keeps meaning search problems. Value rows of earlier steps are trained
again where the config says so (replay.py). A step looks for its sessions more often than every two seconds. And the
run ends with a table that says what was gained.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from aflow_env.config import parse
from aflow_env.rl.estimators import OnlineRows, rows_of_step, verl_name
from aflow_env.rl.metrics import step_metrics
from aflow_env.rl.outcome import final_report
from aflow_env.rl.owner import share
from aflow_env.rl.replay import Replay
from aflow_env.rl.wandb_run import figures, finish, show
from aflow_env.rl.watchdog import Watchdog

POLL_SECONDS = 0.25
"""How often a step looks whether its sessions have ended. verl's two seconds are much of a small step."""


class AflowTrainer:
    """What aflow_env adds to any of verl's V1 trainers; comes first among the bases."""

    config: DictConfig

    def __init__(self, config: DictConfig) -> None:
        self.aflow = parse(config.aflow)
        self._owner = share(config, self.aflow)  # held: it ends when nobody holds it
        super().__init__(config)  # type: ignore[call-arg]
        self._step_fields: list[dict[str, Any]] = []
        self._replay = Replay(self.aflow.q.replay_steps, self.aflow.seed) if self.aflow.q.replay else None
        self._began = time.monotonic()

    def _build_replay_buffer(self) -> Any:
        buffer = super()._build_replay_buffer()  # type: ignore[misc]
        if type(buffer) is ReplayBuffer:  # A user's own sampler polls as it likes.
            buffer.poll_interval = POLL_SECONDS
        return buffer

    def init(self) -> None:
        """verl's set-up of workers and servers, watched over: one that dies on the way ends the run."""
        with Watchdog():
            super().init()  # type: ignore[misc]

    def _balance_batch(self, batch: Any, *arguments: Any, **keywords: Any) -> Any:
        if not batch.keys:
            raise RuntimeError(
                "every session of this step failed, so there is nothing to train on: the agent loop's errors above "
                "say why"
            )
        with self._rows_per_prompt():
            return super()._balance_batch(batch, *arguments, **keywords)  # type: ignore[misc]

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        if self._replay is not None:
            kinds = [fields["kind"] for fields in self._step_fields]
            self._replay.take(batch, kinds, self.global_steps)  # type: ignore[attr-defined]
        with self._rows_per_prompt():
            batch = super()._update_actor(batch, metrics)  # type: ignore[misc]
        if self._replay is not None:
            metrics.update(self._update_values(self._replay))
        return batch

    def _update_values(self, replay: Replay) -> dict[str, float]:
        """The further optimiser steps on value rows, ratios being to the policy as it is now; their metrics."""
        found: dict[str, Any] = {}
        rows = self.aflow.q.replay_rows
        drawn = replay.draw(rows, self.aflow.q.replay, self.global_steps)  # type: ignore[attr-defined]
        if drawn is None:
            return {"aflow/replay_updates": 0.0}
        with self._mini_batches(1, rows):
            drawn = super()._compute_old_log_prob(drawn, {})  # type: ignore[misc]
            super()._update_actor(drawn, found)  # type: ignore[misc]
        return {
            "aflow/replay_updates": len(drawn) / rows,
            "aflow/replay_rows_held": float(len(replay)),
            "aflow/replay_grad_norm": float(found["actor/grad_norm"]),
            "aflow/replay_clip_fraction": float(found["actor/pg_clipfrac"]),
        }

    def _update_critic(self, batch: Any, metrics: dict[str, Any]) -> Any:
        with self._rows_per_prompt():
            return super()._update_critic(batch, metrics)  # type: ignore[misc]

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self._step_fields = self._fetch_fields(batch)
        sessions = [key.rsplit("_", 1)[0] for key in batch.keys]
        padding = [bool(tag.get("is_padding", False)) for tag in batch.tags]
        rows = OnlineRows(sessions, self._step_fields, padding)
        with rows_of_step(rows), self._our_estimator():
            batch = super()._compute_advantage(batch, metrics)  # type: ignore[misc]
        metrics.update(rows.metrics)
        sessions = self.config.data.train_batch_size * self.config.actor_rollout_ref.rollout.n
        metrics.update(step_metrics(self._step_fields, padding, self.aflow, sessions))
        return batch

    def fit(self, agent_loop_manager: Any) -> None:
        """verl's training loop, then the table of what it gained, and the loggers' end."""
        with Watchdog():
            super().fit(agent_loop_manager)  # type: ignore[misc]
            self._report()
            finish(self.logger)  # type: ignore[attr-defined]

    def _report(self) -> None:
        report = asyncio.run(final_report(self.aflow, self.config, self.get_llm_client(), self.tokenizer))  # type: ignore[attr-defined]
        print(report.text, flush=True)
        self.logger.log(data=report.metrics, step=self.total_training_steps)  # type: ignore[attr-defined]
        self._show_run(self.total_training_steps, last=True)  # type: ignore[attr-defined]

    def on_validate_end(self) -> None:
        """verl's hook, every `trainer.test_freq` steps: tell the trackers how the search stands."""
        super().on_validate_end()  # type: ignore[misc]
        self._show_run(self.global_steps, last=False)  # type: ignore[attr-defined]

    def _show_run(self, step: int, last: bool) -> None:
        """The run so far: its scalars to every logger, its workflows to wandb."""
        found = figures(self.aflow.run_dir, time.monotonic() - self._began)
        self.logger.log(data=found, step=step)  # type: ignore[attr-defined]
        show(self.logger.logger, self.aflow.run_dir, step, last)  # type: ignore[attr-defined]

    @staticmethod
    def _fetch_fields(batch: Any) -> list[dict[str, Any]]:
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        return [dict(getattr(fields, "data", fields)) for fields in data["extra_fields"]]

    @contextmanager
    def _our_estimator(self) -> Iterator[None]:
        """Let verl look up our estimator of that name: its own grpo, rloo, ... would mix value rows with edit rows."""
        algorithm = self.config.algorithm
        name = algorithm.adv_estimator
        algorithm.adv_estimator = verl_name(name)
        try:
            yield
        finally:
            algorithm.adv_estimator = name

    @contextmanager
    def _rows_per_prompt(self) -> Iterator[None]:
        """Let verl's `rollout.n` count rows of a search problem instead of sessions, for one call."""
        reference = self.config.actor_rollout_ref
        value_rows = self.aflow.q.samples if self.aflow.q.kind == "digits" and self.aflow.q.train else 0
        rows = reference.rollout.n * self.aflow.rounds * (1 + value_rows)
        with self._mini_batches(reference.actor.ppo_mini_batch_size, rows):
            yield

    @contextmanager
    def _mini_batches(self, prompts: int, rows: int) -> Iterator[None]:
        """Mini-batches of so many prompts with so many rows each, for one call: verl multiplies the two."""
        actor, rollout = self.config.actor_rollout_ref.actor, self.config.actor_rollout_ref.rollout
        before = actor.ppo_mini_batch_size, rollout.n
        with open_dict(self.config):
            actor.ppo_mini_batch_size, rollout.n = prompts, rows
        try:
            yield
        finally:
            with open_dict(self.config):
                actor.ppo_mini_batch_size, rollout.n = before


class AflowTrainerSync(AflowTrainer, PPOTrainerSync):
    """verl's synchronous trainer with ours on top."""

    @property
    def trainer_mode(self) -> str:
        """verl asks for the mode by name in many places ("sync" or not), and this is a synchronous trainer."""
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, _: str) -> None:
        return


def register(trainers: ModuleType) -> None:
    """Add the trainer to verl's registry."""
    trainers.trainer_base.register_trainer("aflow_sync")(AflowTrainerSync)
