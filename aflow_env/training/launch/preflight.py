# SPDX-License-Identifier: Apache-2.0
"""Refuse a run that cannot work before Ray starts, in one paragraph, and prepare any other.

`training/launch/driver.py` calls `before_ray` where verl validates its own config. Each check raises ConfigError that
names the key, the value and the fix.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from jinja2 import TemplateError
from omegaconf import DictConfig, OmegaConf
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase
from verl.utils.device import get_device_name

from aflow_env.config import AflowConfig, parse, resolve
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.budget import Budget
from aflow_env.report.loggers import kept_id, prepare_environment
from aflow_env.screen import one_line
from aflow_env.search.assemble import Split, priced_for
from aflow_env.store.settings import claim, lock
from aflow_env.store.shared import open_cache, open_recording
from aflow_env.store.store import Store
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_workflow
from aflow_env.training.hardware.layout import check_layout, known_shape
from aflow_env.training.launch.train_log import screen
from aflow_env.training.launch.verl_keys import check_keys
from aflow_env.training.nodes.owner import check_shared
from aflow_env.training.rollout.policy import digit_token_ids
from aflow_env.training.rollout.search_problems import check_files
from aflow_env.training.trainer.checkpoints import ROLLOUT_TEMPERATURE, resume_step
from aflow_env.training.trainer.mini_batches import check_mini_batches

MODEL = "actor_rollout_ref.model.path"
SAMPLE = [{"role": "system", "content": "rules"}, {"role": "user", "content": "question"}]
"""The roles of every question that a policy is asked."""
_training: dict[Path, FileLock] = {}
"""The run folders that this process trains in."""


def before_ray(config: DictConfig) -> None:
    """Check and prepare a run that has an `aflow:` node; leave any other run alone.

    A mistake exits with status 1; in a sweep it raises ConfigError, so that the next job starts.
    """
    if OmegaConf.select(config, "aflow") is None:
        return
    try:
        screen()
        aflow = check(config)
        check_device(config)
        lock_run(aflow, resume_step(config), config.actor_rollout_ref.rollout.temperature)
    except ConfigError as error:
        if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        raise SystemExit(f"aflow_env: {one_line(str(error))}") from None
    prepare_environment()
    keep_niceness()
    continue_run(config)


def check(config: DictConfig) -> AflowConfig:
    """Return the `aflow:` node. Raises ConfigError for keys, parts, files and policies that would fail later."""
    resolve(config)
    aflow = parse(config.aflow)
    check_keys(config, aflow)
    check_layout(config, known_shape(config))
    check_mini_batches(config, aflow)
    check_files(config.data)
    check_shared(aflow, config.trainer.nnodes)
    check_policy(config, aflow)
    check_parts(aflow)
    return aflow


def check_device(config: DictConfig) -> None:
    """Refuse a run that needs an accelerator where verl has none: Ray would wait for it for ever.

    `check` leaves this out, so that a machine without one can plan for machines with some.
    """
    wanted = config.trainer.device
    if wanted != "cpu" and get_device_name() == "cpu":
        raise ConfigError(
            f"trainer.device={wanted}, but this machine has no accelerator and the environment is the CPU's. Use "
            "--config-name aflow_gigpo_cpu; or, where the driver of a GPU cluster has none, set AFLOW_DEVICE=gpu"
        )


def lock_run(aflow: AflowConfig, step: int = 0, temperature: float = 1.0) -> None:
    """Save the config and the rollouts' temperature in the run's store, and take the store back to `step`.

    `aflow-env test RUN` and `export-policy` read them. Raises ConfigError when the store has results of another config,
    and while another process trains in this folder.
    """
    folder = Path(aflow.run_dir)
    with closing(Store(folder / "run.sqlite")) as store:
        if folder not in _training:
            _training[folder] = claim(folder)
        lock(store, aflow)
        store.set_meta(ROLLOUT_TEMPERATURE, str(float(temperature)), replace=True)
        store.take_back(step)


def keep_niceness() -> None:
    """Let Ray's workers run at the driver's niceness. With Ray's own 15 other processes take nearly all cores."""
    os.environ.setdefault("RAY_worker_niceness", "0")


def continue_run(config: DictConfig) -> None:
    """Give wandb the id of this run folder, under which a resumed run continues; an id of the user's stays.

    wandb saves the metrics of steps after the last checkpoint, and refuses to log these steps again.
    """
    loggers = config.trainer.logger
    if "wandb" not in ([loggers] if isinstance(loggers, str) else loggers) or "WANDB_RUN_ID" in os.environ:
        return
    fresh = config.trainer.resume_mode == "disable"
    os.environ["WANDB_RUN_ID"] = kept_id(Path(config.trainer.default_local_dir), fresh)
    os.environ.setdefault("WANDB_RESUME", "allow")


def check_policy(config: DictConfig, aflow: AflowConfig) -> None:
    """Check that the policy can answer a search's questions: folder, vocabulary, chat template, digits.

    No check depends on the architecture. A hub name is checked once it is downloaded.
    """
    node = config.actor_rollout_ref.model
    path = str(node.path)
    folder = Path(path).expanduser()
    on_hub = not folder.is_dir() and path.count("/") == 1 and not path.startswith((".", "/", "~"))
    if not folder.is_dir() and not on_hub:
        raise ConfigError(
            f"{MODEL}={path}: there is no such folder; give a Hugging Face folder or hub name, or make a small policy "
            "by `aflow-env model tiny --out DIR`"
        )
    where, known = path if on_hub else str(folder), {"trust_remote_code": bool(node.get("trust_remote_code", False))}
    try:
        model = AutoConfig.from_pretrained(where, local_files_only=True, **known)
        tokenizer = AutoTokenizer.from_pretrained(node.tokenizer_path or where, local_files_only=True, **known)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:  # the last three: JSON of another shape
        if on_hub:
            return
        raise ConfigError(f"{MODEL}={path} does not load: {one_line(str(error))}") from error
    if len(tokenizer) > model.vocab_size:
        raise ConfigError(
            f"{MODEL}={path}: the tokenizer has {len(tokenizer)} tokens and the model {model.vocab_size}: they do not "
            "belong together"
        )
    tokenizer.chat_template = node.custom_chat_template or tokenizer.chat_template
    digits = aflow.q.kind == "policy"
    check_chat(tokenizer, path, config.data.apply_chat_template_kwargs, digits)
    if digits:
        digit_token_ids(tokenizer)


def check_chat(tokenizer: PreTrainedTokenizerBase, path: str, template: Mapping[str, Any], digits: bool) -> None:
    """Check that the chat template takes a system and a user message, and lets the policy answer at once.

    `template` has its other arguments. With `digits` the first token of an answer must be free to be a digit.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            f"{MODEL}={path}: the tokenizer has no chat template, which every prompt needs; use an instruction-tuned "
            "model (...-Instruct), or give one: actor_rollout_ref.model.custom_chat_template"
        )
    try:
        tokenizer.apply_chat_template(SAMPLE, add_generation_prompt=True, tokenize=False, **template)
    except TemplateError as error:
        raise ConfigError(
            f"{MODEL}={path}: its chat template refuses a system message followed by a user message ({error}), which "
            "is how every question is put; give one that takes both: actor_rollout_ref.model.custom_chat_template"
        ) from error
    if digits and "enable_thinking" in str(tokenizer.chat_template) and template.get("enable_thinking") is not False:
        raise ConfigError(
            f"{MODEL}={path}: its chat template lets the model think before it answers, and q.kind=policy reads the "
            "prediction off the first token of an answer; set +data.apply_chat_template_kwargs.enable_thinking=false"
        )


def check_parts(config: AflowConfig) -> None:
    """Check data, start workflow, keys, prices, recording, cache. Load problems, build clients, and send nothing."""
    task = load_task(config.task)
    splits: tuple[Split, ...] = ("train", "validate", "test") if config.task.train_size else ("validate", "test")
    for split in splits:
        if not task.load(split, None, config.seed) and split == "train":
            raise ConfigError(
                f"task.train_size={config.task.train_size}: task.path={config.task.path} has no train problems for "
                f"{config.task.name}. Set task.train_size=0 to train on the validate problems, or name a folder with "
                "train.jsonl in task.path"
            )
    start_workflow(config.problems.start, task.spec)
    for opened in (open_recording(config), open_cache(config)):
        if opened:
            opened.close()
    if config.executor.kind == "policy" and config.executor.mode != "live":
        raise ConfigError(
            f"executor.mode={config.executor.mode} with executor.kind=policy: answers of the model in training are "
            "not recorded, since other weights answer otherwise. Set executor.mode=live"
        )

    async def never(messages: object, temperature: float, max_tokens: int, seed: int) -> tuple[str, int, int]:
        raise AssertionError("a check does not ask")

    for role, node in (("executor", config.executor), ("implementer.llm", config.implementer.llm)):
        if node is not None and node.mode != "replay":  # a replay sends nothing: it needs no key
            live = node.model_copy(update={"mode": "live"})
            budget, priced = Budget(config.budget), priced_for(config, role)
            build_client(live, budget=budget, log=None, seed=config.seed, generate=never, role=role, priced_for=priced)
