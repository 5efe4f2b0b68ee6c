# SPDX-License-Identifier: Apache-2.0
"""Each config that ships, and each way to compose one, passes verl's own validation, our schema and a plan.

Every model comes on every hardware, and with every other tuning; tasks and executors, which touch only the `aflow:`
node, come each at least once.
"""

from itertools import cycle, product

import pytest
from omegaconf import OmegaConf

from aflow_env.config import config_directory, parse
from aflow_env.errors import ConfigError

pytest.importorskip("verl", reason="needs verl: make setup")
from aflow_env.cli.verbs.training import card, composed
from aflow_env.training.hardware.layout import architecture, check_layout
from aflow_env.training.hardware.plan import GIB, Plan, plan
from aflow_env.training.launch.verl_keys import check_value_rows, check_wiring
from aflow_env.training.nodes.owner import check_shared
from aflow_env.training.rollout.search_problems import check_files
from aflow_env.training.trainer.mini_batches import check_mini_batches


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config_directory() / group).glob("*.yaml"))


TOP = sorted(path.stem for kind in ("aflow_gigpo*", "recipe_*") for path in config_directory().glob(f"{kind}.yaml"))
RECIPES = [name for name in TOP if name.startswith("recipe_")]
EXECUTORS = {
    "simulated": [],
    "policy": [],
    "anthropic": ["aflow.executor.model=claude-haiku-5-5"],
    "openai": ["aflow.executor.model=m", "aflow.executor.base_url=http://localhost:8000/v1"],
    "vllm": ["aflow.executor.model=m"],
    "table": ["aflow.task.table=mbpp"],
}
TASKS = {"own": [f"aflow.task.name={config_directory()}/init/NAME.yaml"]}
NO_FIT = [
    ["model=qwen2_5_3b", "hardware=one_40gb"],
    ["model=qwen2_5_7b", "hardware=one_40gb"],
    ["model=qwen2_5_7b", "hardware=one_80gb"],
]
"""With every weight trained."""


def crossed() -> list[tuple[str, list[str]]]:
    """(name, overrides): model x hardware and model x tuning, with the next task and the next executor each time."""
    tasks, executors = cycle(names("aflow/task")), cycle(names("aflow/executor"))
    found = []
    models = [name for name in names("model") if name != "tiny"]
    every = product(models, names("hardware"), [""])
    tuned = product(models, ["one_40gb"], names("tuning"))
    for model, hardware, tuning in (*every, *tuned):
        executor = next(executors)
        task = {"simulated": "arithmetic", "table": "mbpp"}.get(executor) or next(tasks)
        groups = [f"model={model}", f"hardware={hardware}"] + [f"tuning={tuning}"] * bool(tuning)
        chosen = [f"aflow/task={task}", f"aflow/executor={executor}"]
        overrides = [*groups, *chosen, *EXECUTORS[executor], *TASKS.get(task, [])]
        found.append((" ".join((model, hardware, tuning or "full", task, executor)), overrides))
    return found


def validated(name: str, overrides: list[str], memory: float) -> Plan:
    """verl's validation with its dataclasses, our schema, our checks of verl's keys, and the plan."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    verls = getattr(validate_config, "__wrapped__", validate_config)  # ours stands around it and wants a policy folder
    config = composed(name, overrides)
    OmegaConf.resolve(config)
    verls(config, need_reference_policy(config), need_critic(config))
    for node in (config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout):
        omega_conf_to_dataclass(node)
    aflow, shape = parse(config.aflow), architecture(str(config.actor_rollout_ref.model.path))
    check_wiring(config, aflow)
    check_mini_batches(config, aflow)
    check_value_rows(config, aflow.q)
    check_files(config.data)
    check_layout(config, shape)
    check_shared(aflow, config.trainer.nnodes)
    return plan(config, aflow, shape, int(memory * GIB))


@pytest.mark.parametrize("name", TOP)
def test_a_shipped_config_is_valid(name: str) -> None:
    policy = [] if name in RECIPES else ["actor_rollout_ref.model.path=Qwen/Qwen2.5-1.5B-Instruct"]
    found = validated(name, policy, card(name, policy))
    assert found.rows > 0
    if name in RECIPES:
        assert found.complaints == [], "a recipe fits the cards it names"


@pytest.mark.parametrize("overrides", [pytest.param(overrides, id=name) for name, overrides in crossed()])
def test_every_model_on_every_hardware_is_valid_and_planned(overrides: list[str]) -> None:
    memory = 40 if "hardware=one_40gb" in overrides else 80
    refused = overrides[:2] in NO_FIT and "tuning=lora" not in overrides
    assert bool(validated("aflow_gigpo", overrides, memory).complaints) == refused


def test_every_task_and_executor_comes_at_least_once() -> None:
    seen = {each for _, overrides in crossed() for each in overrides}
    assert {f"aflow/task={task}" for task in names("aflow/task")} <= seen
    assert {f"aflow/executor={executor}" for executor in names("aflow/executor")} <= seen


def test_a_group_that_does_not_exist_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="one_tpu"):
        composed("aflow_gigpo", ["hardware=one_tpu"])
