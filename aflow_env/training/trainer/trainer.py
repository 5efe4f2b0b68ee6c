# SPDX-License-Identifier: Apache-2.0
"""The trainer `aflow_sync`: verl's own PPO trainer, with anchors and steps.

verl's estimators get token rewards, masks and group ids. GiGPO also needs each row's anchor, step index and step
reward, which the agent loop put beside the tokens. `_compute_advantage` fetches these fields for the estimator and
calls verl's method. KL penalty, rollout correction and the write-back stay verl's.

Four more things differ:

- verl counts mini-batches in rows, and a session of ours is many rows. The count is scaled, so that
  `ppo_mini_batch_size` still counts search problems, and rows are dealt out evenly (mini_batches.py).
- Value rows of earlier steps are trained again where the config says so (mini_batches.py).
- A step looks for its sessions more often than every two seconds.
- The run ends with a table of its gains.
"""

import asyncio
import time
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from aflow_env.config import parse
from aflow_env.errors import BudgetExhausted
from aflow_env.report.loggers import figures, installed, show_run
from aflow_env.tasks import load_task
from aflow_env.training.launch.log_lines import marked
from aflow_env.training.nodes.owner import share
from aflow_env.training.trainer.estimators import OnlineRows, rows_of_step, verl_name
from aflow_env.training.trainer.metrics import step_metrics
from aflow_env.training.trainer.mini_batches import (
    STEPS,
    Replay,
    changed,
    deal,
    mini_batches,
    rows_of_problem,
    rows_of_replay,
)
from aflow_env.training.trainer.server_reports import final_report, held_out
from aflow_env.training.verl_patches.watchdog import Watchdog

POLL_SECONDS = 0.25
"""Seconds between two looks for ended sessions. verl's two seconds are much of a small step."""

NOTHING_PLAYED = (
    "every session of this step failed, so there is nothing to train on: the agent loop's errors above say why "
    "(BudgetExhausted: aflow.budget.* is spent, raise it and start the run again; InfrastructureError: the executor or "
    "the machine failed)"
)


class AflowTrainerSync(PPOTrainerSync):
    """verl's synchronous trainer with the additions of aflow_env."""

    config: DictConfig

    def __init__(self, config: DictConfig) -> None:
        self.aflow = parse(config.aflow)
        self._owner = share(config, self.aflow)  # It ends with its last reference.
        super().__init__(config)
        self._step_fields: list[dict[str, Any]] = []
        self._replay = Replay(STEPS, self.aflow.seed)
        self._began = time.monotonic()

    def _build_replay_buffer(self) -> Any:
        buffer = super()._build_replay_buffer()
        if type(buffer) is ReplayBuffer:  # A user's own sampler polls as it likes.
            buffer.poll_interval = POLL_SECONDS
        return buffer

    def init(self) -> None:
        """Set up verl's workers and servers under a watchdog, so that one that dies on the way ends the run."""
        with Watchdog():
            super().init()

    def _step_once(self, *arguments: Any, **keywords: Any) -> Any:
        try:
            return super()._step_once(*arguments, **keywords)
        except RuntimeError as error:
            if "no materializable trajectories" in str(error):
                raise RuntimeError(NOTHING_PLAYED) from error
            raise

    def _balance_batch(self, batch: Any, *arguments: Any, **keywords: Any) -> Any:
        """Take the value rows out, balance as verl does, and fill up to equally many updates in every step."""
        batch = self._replay.take(batch, self._fetch_fields(batch), self.global_steps)
        prompts = self.config.actor_rollout_ref.actor.ppo_mini_batch_size
        parts = -(-self.config.data.train_batch_size // prompts)
        with self._search_problems(parts * prompts):
            batch = super()._balance_batch(batch, *arguments, **keywords)
        fields = self._fetch_fields(batch)
        ranks = max(self.actor_rollout_wg._dispatch_info["actor"]) + 1
        steps = [each["step_index"] for each in fields]
        order = deal(list(zip(_padding(batch), steps, strict=True)), ranks, parts)
        batch.reorder(order)
        self._step_fields = [fields[place] for place in order]
        return batch

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        with self._search_problems(self.config.actor_rollout_ref.actor.ppo_mini_batch_size):
            batch = super()._update_actor(batch, metrics)
        if self.aflow.q.rows:
            metrics.update(self._update_values(self._replay))
        return batch

    def _update_values(self, replay: Replay) -> dict[str, float]:
        """Take the further optimiser steps on value rows and return their metrics."""
        found: dict[str, Any] = {}
        rows = rows_of_replay(self.config)
        drawn = replay.draw(rows, self.aflow.q.replay, self.global_steps)
        held = {"aflow/replay_rows_held": float(len(replay))}
        if drawn is None:
            return {"aflow/replay_updates": 0.0, **held}
        with mini_batches(self.config, 1, rows, epochs=1):
            if self.use_reference_policy:
                drawn = super()._compute_ref_log_prob(drawn, {})
            super()._update_actor(drawn, found)
        return {
            "aflow/replay_updates": len(drawn) / rows,
            **held,
            "aflow/replay_grad_norm": float(found["actor/grad_norm"]),
        }

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """Compute them by our estimator of the configured name: verl's own grpo, rloo, ... know no steps."""
        padding = _padding(batch)
        rows = OnlineRows([key.rsplit("_", 1)[0] for key in batch.keys], self._step_fields, padding)
        ours = {"algorithm.adv_estimator": verl_name(self.config.algorithm.adv_estimator)}
        with rows_of_step(rows), changed(self.config, ours):
            batch = super()._compute_advantage(batch, metrics)
        metrics.update(rows.metrics)
        sessions = self.config.data.train_batch_size * self.config.actor_rollout_ref.rollout.n
        metrics.update(step_metrics(self._step_fields, padding, self.aflow, sessions))
        return batch

    def fit(self, agent_loop_manager: Any) -> None:
        """Run verl's training loop, print the table of its gains, and end the loggers."""
        with Watchdog():
            super().fit(agent_loop_manager)
            self._report()
            finish(self.logger)

    def _consume_sync_metrics(self) -> dict[str, float]:
        """Add the metrics of Q on held-out edits, by the weights that were just synced."""
        return {**super()._consume_sync_metrics(), **self._judge_q()}

    def _judge_q(self) -> dict[str, float]:
        if not self.aflow.q.rows:
            return {}
        task = load_task(self.aflow.task).spec
        return asyncio.run(held_out(self.aflow, self.config, self.get_llm_client(), self.tokenizer, task))

    def _report(self) -> None:
        steps = self.total_training_steps
        q = self._judge_q()  # once more: the last validation has been played since
        try:
            report = asyncio.run(final_report(self.aflow, self.config, self.get_llm_client(), self.tokenizer, steps, q))
        except BudgetExhausted as limit:
            print(marked(f"no closing report, not even the start workflow could be scored: {limit}"), flush=True)
        else:
            print(marked(report.text), flush=True)
            self.logger.log(data={**report.metrics, **q}, step=steps)
        self._show_run(steps, last=True)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *arguments: Any, **keywords: Any) -> None:
        """Add the run so far, after the step's validation, if any."""
        super()._compute_metrics(batch, metrics, *arguments, **keywords)
        metrics.update(figures(self.aflow.run_dir, time.monotonic() - self._began))

    def on_validate_end(self) -> None:
        """Send the trackers the state of the search; verl calls this every `trainer.test_freq` steps."""
        super().on_validate_end()
        self._show_run(self.global_steps, last=False)

    def _show_run(self, step: int, last: bool) -> None:
        """Send the run's scalars to every logger, and its workflows to wandb."""
        self.logger.log(data=figures(self.aflow.run_dir, time.monotonic() - self._began), step=step)
        show(self.logger.logger, self.aflow.run_dir, step, last)

    @staticmethod
    def _fetch_fields(batch: Any) -> list[dict[str, Any]]:
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        return [dict(getattr(fields, "data", fields)) for fields in data["extra_fields"]]

    def _search_problems(self, prompts: int) -> AbstractContextManager[None]:
        """Count verl's mini-batches in so many search problems, for one call."""
        rows = rows_of_problem(self.config, self.aflow)
        return mini_batches(self.config, prompts, rows, self.config.actor_rollout_ref.actor.ppo_epochs)

    trainer_mode = property(lambda self: "sync", lambda self, _: None, doc="By which verl tells synchronous trainers.")


def _padding(batch: Any) -> list[bool]:
    return [bool(tag.get("is_padding", False)) for tag in batch.tags]


def show(loggers: dict[str, Any], run_dir: str, step: int, last: bool) -> None:
    """Send wandb, where it is a logger, tables, pages and artifacts, which other loggers do not have."""
    if "wandb" in loggers:
        import wandb

        run: Any = wandb.run
        run.config.update({"versions": installed()}, allow_val_change=True)
        if upload := show_run(run, run_dir, step, last):
            print(marked(upload), flush=True)


def finish(tracking: Any) -> None:
    """End every logger of verl's `Tracking`, and wandb's own process.

    At the interpreter's end Ray may stop that process first, and wandb then prints a traceback.
    """
    tracking.finish()
    if "wandb" in tracking.logger:
        import wandb

        wandb.teardown()


def register(trainers: ModuleType) -> None:
    """Add the trainer to verl's registry."""
    trainers.trainer_base.register_trainer("aflow_sync")(AflowTrainerSync)
