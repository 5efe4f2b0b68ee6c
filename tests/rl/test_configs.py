# SPDX-License-Identifier: Apache-2.0
"""Each config that ships passes verl's own validation and our schema, GPU ones included."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from aflow_env.config import config_directory, parse

pytest.importorskip("verl", reason="needs verl: make setup")
CONFIGS = sorted(path.stem for path in config_directory().glob("aflow_gigpo*.yaml"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shipped_config_is_valid(name: str) -> None:
    import verl
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    validate = getattr(
        validate_config, "__wrapped__", validate_config
    )  # ours stands around it and wants a policy folder
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base=None):
        path = f"hydra.searchpath=[file://{Path(verl.__file__).parent}/trainer/config]"
        config = compose(name, overrides=[path, "actor_rollout_ref.model.path=Qwen/Qwen2.5-1.5B-Instruct"])
    validate(config, need_reference_policy(config), need_critic(config))
    assert parse(config.aflow).rl_weight == 0.5
    assert config.algorithm.adv_estimator == "gigpo"
