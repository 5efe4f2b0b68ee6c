# SPDX-License-Identifier: Apache-2.0
"""Everything that can be known to be wrong before Ray starts is said before Ray starts, in one paragraph.

`training/launch/driver.py` calls `before_ray` from where verl validates its own config.
"""

import os
from contextlib import closing
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from verl.utils.device import get_device_name

from aflow_env.config import AflowConfig, parse, plain, unresolved
from aflow_env.errors import ConfigError
from aflow_env.report.wandb_log import prepare_environment
from aflow_env.screen import one_line
from aflow_env.store.settings import flat, lock
from aflow_env.store.store import Store
from aflow_env.training.hardware.layout_check import check_layout, known_shape
from aflow_env.training.launch.parts_check import check_parts
from aflow_env.training.launch.policy_check import check_policy
from aflow_env.training.launch.replay_check import check_value_rows
from aflow_env.training.launch.split_check import check_splits
from aflow_env.training.launch.train_log import screen
from aflow_env.training.nodes.owner import check_shared
from aflow_env.training.rollout.search_problems import SearchProblems
from aflow_env.training.trainer.checkpoints import resume_step
from aflow_env.training.trainer.estimators import check_switches
from aflow_env.training.trainer.export import ROLLOUT_TEMPERATURE
from aflow_env.training.trainer.mini_batches import check_mini_batches
from aflow_env.training.trainer.wandb_run import continue_run

TRAINERS = ("aflow_sync",)
COUNTS = (
    *("actor_rollout_ref.rollout.n", "actor_rollout_ref.rollout.tensor_model_parallel_size"),
    *("actor_rollout_ref.rollout.prompt_length", "actor_rollout_ref.rollout.response_length"),
    *("actor_rollout_ref.actor.ppo_mini_batch_size", "actor_rollout_ref.actor.ppo_epochs"),
    *("data.train_batch_size", "data.max_prompt_length", "data.max_response_length"),
    *("trainer.nnodes", "trainer.n_gpus_per_node", "trainer.total_epochs"),
)
"""Keys of verl that are 1 or more in every training."""
_ABORTED = (
    "verl 0.9.1 aborts whatever the rollout server is at when a step's batch is full, and resumes generations alone: "
    "the policy's beliefs, which come from the server's log-probabilities, would be lost, and one search would mix "
    "versions of the weights, so that Q and the anchors of a group mean different policies"
)
ASYNCHRONOUS = {
    "colocate_async": _ABORTED,
    "separate_async": f"{_ABORTED}; it also needs accelerators of its own for the rollout, and a checkpoint engine "
    "other than naive",
}
"""Modes of verl that are not supported, and why."""


def before_ray(config: DictConfig) -> None:
    """Check a run that has an `aflow:` node; any other run is not ours and passes untouched."""
    if OmegaConf.select(config, "aflow") is None:
        return
    try:
        screen()
        aflow = check(config)
        check_device(config)
        lock_run(aflow, resume_step(config), config.actor_rollout_ref.rollout.temperature)
    except ConfigError as error:
        _stop(error)
    prepare_environment()
    keep_niceness()
    continue_run(config)


def lock_run(aflow: AflowConfig, step: int = 0, temperature: float = 1.0) -> None:
    """Save the config in the run's store, where `aflow-env test RUN` finds it, and take the store back to `step`.

    The rollouts' temperature is noted for whoever serves the policy later (export.py).

    Raises ConfigError when the store has results of another config.
    """
    with closing(Store(Path(aflow.run_dir) / "run.sqlite")) as store:
        lock(store, aflow)
        store.set_meta(ROLLOUT_TEMPERATURE, str(float(temperature)))
        store.take_back(step)


def _stop(error: ConfigError) -> None:
    """One paragraph and status 1; a sweep goes on with its next job, so there it stays an exception."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise error
    raise SystemExit(f"aflow_env: {one_line(str(error))}")


def check(config: DictConfig) -> AflowConfig:
    """Raises ConfigError for whatever would fail later: keys, parts that are missing, files, the policy's folder."""
    try:
        OmegaConf.resolve(config)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(unresolved(error)) from error
    aflow = parse(config.aflow)
    check_numbers(config)
    check_wiring(config, aflow)
    check_mini_batches(config, aflow)
    check_value_rows(config, aflow.q)
    check_splits(config)
    for files, most in (("train_files", "train_max_samples"), ("val_files", "val_max_samples")):
        SearchProblems(config.data[files], None, config.data, max_samples=config.data[most])
    check_layout(config, known_shape(config))
    check_shared(aflow, config.trainer.nnodes)
    check_policy(config, aflow)
    check_parts(aflow)
    return aflow


def check_device(config: DictConfig) -> None:
    """Raise ConfigError where the run needs an accelerator and verl has none: Ray would wait for it for ever.

    `check` leaves this out, so that a machine without one can plan for machines with some.
    """
    wanted = config.trainer.device
    if wanted != "cpu" and get_device_name() == "cpu":
        raise ConfigError(
            f"trainer.device={wanted}, but this machine has no accelerator and the environment is the CPU's. Use "
            "--config-name aflow_gigpo_cpu; or, where the driver of a GPU cluster has none, set AFLOW_DEVICE=gpu"
        )


def check_numbers(config: DictConfig) -> None:
    """Refuse counts below 1, and whole numbers that verl's libraries cannot hold."""
    values = flat(plain(config))
    for key, value in values.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{key}={value}: a number beyond 64 bits; set one below {2**63}")
    for key in COUNTS:
        if isinstance(value := values.get(key), int | float) and value < 1:
            raise ConfigError(f"{key}={value}: set 1 or more")


def check_wiring(config: DictConfig, aflow: AflowConfig) -> None:
    """verl's keys that must agree with ours."""
    mode = config.trainer.v1.trainer_mode
    wanted = {
        "trainer.use_v1": (bool(config.trainer.use_v1), True),
        "actor_rollout_ref.rollout.agent.default_agent_loop": (
            config.actor_rollout_ref.rollout.agent.default_agent_loop,
            "aflow_search",
        ),
        "reward.reward_manager.name": (config.reward.reward_manager.name, "aflow"),
        "actor_rollout_ref.rollout.calculate_log_probs": (
            bool(config.actor_rollout_ref.rollout.calculate_log_probs),
            True,
        ),
    }
    for key, (value, needed) in wanted.items():
        if value != needed:
            raise ConfigError(f"{key}={value}: a run with an aflow: node needs {key}={needed}")
    if mode in ASYNCHRONOUS:
        raise ConfigError(
            f"trainer.v1.trainer_mode={mode}: {ASYNCHRONOUS[mode]}. Set trainer.v1.trainer_mode=aflow_sync"
        )
    if mode not in TRAINERS:
        raise ConfigError(
            f"trainer.v1.trainer_mode={mode}: it would train without anchors and step rewards; choose "
            f"{' or '.join(TRAINERS)}"
        )
    check_switches(config.algorithm)
    if aflow.logger:
        raise ConfigError("aflow.logger: a training logs where trainer.logger says; leave aflow.logger out")
    if aflow.proposer not in ("policy", "guided"):
        raise ConfigError(
            f"aflow.proposer={aflow.proposer}: training needs proposals that the policy wrote, since their tokens are "
            "what is trained; set aflow.proposer=policy or guided, or run the search alone: aflow-env search"
        )
    model = config.actor_rollout_ref.model
    adapter = model.lora_rank > 0 or model.lora.rank > 0 or model.lora_adapter_path is not None
    if adapter and not model.lora.merge and aflow.q.kind != "none":
        raise ConfigError(
            f"actor_rollout_ref.model.lora.merge=false with q.kind={aflow.q.kind}: beliefs come from the rollout "
            "server's HTTP interface, which answers from the base weights where an adapter lies beside them, so Q "
            "would be that of the untrained policy; set actor_rollout_ref.model.lora.merge=true"
        )
    kept = config.trainer.max_actor_ckpt_to_keep
    if config.trainer.save_freq > 0 and (kept == 1 or config.trainer.get("remove_previous_ckpt_in_save", False)):
        raise ConfigError(
            f"trainer.max_actor_ckpt_to_keep={kept}: verl removes the old checkpoint before its tracker names the new "
            "one, so a run that is killed in between has none; set 2 or more, or null for all"
        )
    if config.trainer.v1.sampler.get("sync_refill_failed_groups", False):
        raise ConfigError(
            "trainer.v1.sampler.sync_refill_failed_groups=true: sessions that fail because the budget is spent or the "
            "executor is down would be asked for again without end; set it to false"
        )
    if config.critic.enable:
        raise ConfigError(
            "critic.enable=true: no estimator of aflow_env reads a critic's values, and the search cannot ask it; "
            "leave critic.enable out"
        )


def keep_niceness() -> None:
    """Let Ray's workers run at the driver's niceness.

    Ray would add 15, and any other busy process would take nearly all of the cores.
    """
    os.environ.setdefault("RAY_worker_niceness", "0")
