# SPDX-License-Identifier: Apache-2.0
"""Check before Ray starts the parts that a training needs: data, start workflow, keys, prices, recording, cache."""

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.budget import Budget
from aflow_env.search.assemble import Split, priced_for
from aflow_env.store.shared import open_cache, open_recording
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_workflow


def check_parts(config: AflowConfig) -> None:
    """Raise ConfigError for a part that is missing. Load problems and build clients, and send nothing."""
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

    async def never(messages: object, temperature: float, max_tokens: int, seed: int) -> tuple[str, int, int]:
        raise AssertionError("a check does not ask")

    for opened in (open_recording(config), open_cache(config)):
        if opened:
            opened.close()
    if config.executor.kind == "policy" and config.executor.mode != "live":
        raise ConfigError(
            f"executor.mode={config.executor.mode} with executor.kind=policy: answers of the model in training are "
            "not recorded, since other weights answer otherwise. Set executor.mode=live"
        )
    for role, node in (("executor", config.executor), ("implementer.llm", config.implementer.llm)):
        if node is not None and node.mode != "replay":  # a replay sends nothing: it needs no key
            live = node.model_copy(update={"mode": "live"})
            budget, priced = Budget(config.budget), priced_for(config, role)
            build_client(live, budget=budget, log=None, seed=config.seed, generate=never, role=role, priced_for=priced)
