# SPDX-License-Identifier: Apache-2.0
"""The proposers and predictors by their kind in the config. docs/extending.md shows how to add one."""

from collections.abc import Callable
from contextlib import closing

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.llm.client import LLMClient
from aflow_env.search.prediction.predict import LearningPredictor, QPredictor
from aflow_env.search.prediction.surrogate import Observation, SurrogatePredictor, observation
from aflow_env.search.proposals.proposal import LLMProposer, Proposer, RandomProposer
from aflow_env.store.database import ReadOnlyStore, store_file
from aflow_env.store.experience import evaluated


def _policy(config: AflowConfig, implementer: LLMClient | None, policy: Proposer | None) -> Proposer:
    if policy is None:
        raise _no_model(config)
    return policy


def _llm(config: AflowConfig, implementer: LLMClient | None, policy: Proposer | None) -> Proposer:
    llm = config.implementer.llm
    if implementer is None or llm is None:
        raise _no_model(config)
    return LLMProposer(implementer, config, llm.model, llm.temperature, llm.max_tokens)


def _no_model(config: AflowConfig) -> ConfigError:
    return ConfigError(
        f"proposer={config.proposer} has no model behind it here: set policy.base_url (a served checkpoint), "
        "proposer=llm with implementer=llm, or proposer=random"
    )


def _surrogate(config: AflowConfig, policy: QPredictor | None) -> LearningPredictor:
    return SurrogatePredictor(tuple(each for run in config.q.runs for each in _logged(run, config)), config.q.fewest)


def _logged(run: str, config: AflowConfig) -> list[Observation]:
    """Return a run's stored evaluations of the config's task. Raises ConfigError when there is none."""
    with closing(ReadOnlyStore(store_file("q.runs", run, "an earlier"))) as store:
        found = [observation(each) for each in evaluated(store, config.task.name)]
    if not found:
        raise ConfigError(f"q.runs names {run}, which holds no evaluation of task={config.task.name}: leave it out")
    return found


PROPOSERS: dict[str, Callable[[AflowConfig, LLMClient | None, Proposer | None], Proposer]] = {
    "policy": _policy,
    "guided": _policy,
    "random": lambda config, *_: RandomProposer(config.task.instructions),
    "llm": _llm,
}
"""From the config, the client of the implementer's LLM, and the policy: in training, or at `policy.base_url`."""
PREDICTORS: dict[str, Callable[[AflowConfig, QPredictor | None], QPredictor | LearningPredictor | None]] = {
    "policy": lambda config, policy: policy,
    "surrogate": _surrogate,
    "none": lambda config, policy: None,
}
"""From the config and the policy."""


def check_predictor(config: AflowConfig) -> None:
    """Raise ConfigError when a search without a trainer needs a predictor and has none."""
    if config.rl_weight > 0 and config.q.kind == "policy" and config.policy.base_url is None:
        raise ConfigError(
            f"rl_weight={config.rl_weight} with q.kind=policy needs a policy, and policy.base_url is not set: serve a "
            "checkpoint (vllm serve DIR) and name its address, or set q.kind=surrogate or rl_weight=0. Training is "
            "python -m verl.trainer.main_ppo"
        )
