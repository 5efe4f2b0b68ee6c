# SPDX-License-Identifier: Apache-2.0
"""A setting that would do nothing, or not what it says, is refused by name, with the way out."""

import pytest

from aflow_env.cli.arguments import UNGUIDED, search_config
from aflow_env.cli.compose import load
from aflow_env.errors import ConfigError

OPENAI = ("executor=openai", "executor.base_url=http://localhost:1/v1", "executor.model=unheard-of")
LLM = ("implementer=llm", "implementer.llm.model=m")
BATCH = ("executor=anthropic", "executor.model=m", "executor.batch=true")
QUIET = "convergence.consecutive_rounds"
POLICY = ("executor=policy", "task=gsm8k")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((f"{QUIET}=5", "rounds=5"), r"consecutive_rounds=5 with rounds=5 .*Set rounds above 5"),
        ((f"{QUIET}=5", "rounds=7", "convergence.top_k=7"), r"top_k=7.*Set rounds above 7"),
        (("action=code",), r"proposer=random with action=code: .*proposer=llm implementer=llm, or a served policy"),
        ((*LLM, "action=code", "proposer=policy"), r"implementer\.kind=llm with proposer=policy and action=code"),
        ((*LLM, "action=code", "proposer=llm", "implementer.llm.structured=auto"), r"structured=auto with action=c"),
        ((*BATCH, "executor.structured=auto"), r"executor: batch=true with structured=auto: .*set structured=off"),
        ((*POLICY, "cache=somewhere"), r"cache=somewhere with executor\.kind=policy: .*Leave cache out"),
        ((*POLICY, "executor.mode=replay"), r"executor\.mode=replay with executor\.kind=policy: .*mode=live"),
        (("policy.model=checkpoint",), r"policy: model=checkpoint without base_url: .*Set policy\.base_url="),
        ((*OPENAI, "executor.prices=free", "stop.usd=2"), r"stop\.usd=2\.0 with executor\.prices=free.*use stop\.tok"),
        ((*POLICY, "stop.usd=2"), r"stop\.usd=2\.0 with executor\.kind=policy.*use stop\.tokens"),
        ((*POLICY, "reward.cost_weight=1"), r"reward\.cost_weight=1\.0 with executor\.kind=policy.*leave"),
    ],
)
def test_what_would_do_nothing_is_refused(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(overrides, UNGUIDED)


@pytest.mark.parametrize(
    "overrides",
    [
        (f"{QUIET}=5", "rounds=6"),
        ("convergence.top_k=9",),
        (*LLM, "action=code", "proposer=llm"),
        (*LLM, "proposer=policy", "implementer.llm.structured=auto"),
        BATCH,
        POLICY,
    ],
)
def test_what_does_something_is_taken(overrides: tuple[str, ...]) -> None:
    assert load(overrides, UNGUIDED).rounds > 0


@pytest.mark.parametrize(
    ("given", "guided"),
    [
        (("policy={base_url: http://x/v1, model: m}",), True),
        (("policy.base_url=http://x/v1", "policy.model=m"), True),
        (("policy.base_url=null",), False),
        ((), False),
    ],
)
def test_a_search_is_guided_however_its_policy_is_named(given: tuple[str, ...], guided: bool) -> None:
    config = search_config(given)
    assert (config.proposer, config.q.kind) == (("policy", "policy") if guided else ("random", "surrogate"))


@pytest.mark.parametrize(
    "wrong", ["executor.api_key=sk-aaaabbbbccccddddeeee", "executor.apikey=short", "nokey=sk-" + "a" * 20]
)
def test_a_key_in_the_wrong_place_is_not_shown(wrong: str) -> None:
    """The sentence is printed, and a sweep or a cluster stores it."""
    name, _, secret = wrong.partition("=")
    with pytest.raises(ConfigError, match=rf"{name}=\(a key\): there is no such key") as found:
        load((*OPENAI, f"+{wrong}"))
    assert secret not in str(found.value)
