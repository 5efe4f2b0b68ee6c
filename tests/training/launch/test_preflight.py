# SPDX-License-Identifier: Apache-2.0
"""Each mistake is one paragraph that names the key, the value and the fix, before any process is started."""

import json
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.config import config_directory
from aflow_env.errors import ConfigError

pytest.importorskip("verl", reason="needs verl")
from aflow_env.store.store import Store
from aflow_env.training.hardware.layout import architecture, sequence_ranks
from aflow_env.training.launch.preflight import check, check_parts, continue_run, keep_niceness, lock_run
from aflow_env.training.trainer.checkpoints import ROLLOUT_TEMPERATURE
from aflow_env.training.trainer.estimators import ESTIMATORS

OPENAI = ("executor=openai", "executor.base_url=http://localhost:1/v1", "executor.model=unheard-of")
POLICY = ("executor=policy", "task=gsm8k")


def composed(*overrides: str) -> DictConfig:
    """The CPU config as verl composes it; the policy is a folder that is not there unless a test names one."""
    import verl

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base=None):
        path = f"hydra.searchpath=[file://{Path(verl.__file__).parent}/trainer/config]"
        return compose("aflow_gigpo_cpu", overrides=[path, *overrides])


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """A real tokenizer and model config, without weights: all that the check reads."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="!", pad_token="!")
    fast.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    fast.save_pretrained(tmp_path / "policy")
    Qwen2Config(vocab_size=300).save_pretrained(tmp_path / "policy")
    return f"actor_rollout_ref.model.path={tmp_path / 'policy'}"


def test_the_embedded_default_passes(policy: str) -> None:
    assert check(composed(policy)).task.name == "arithmetic"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("aflow.rl_weight=2", "aflow.rl_weight=2"),
        ("aflow.q.kind=none", "q.kind=none"),
        ("+aflow.wheight=1", "aflow.wheight=1: there is no such key"),
        ("aflow.task.name=gsm9k", "gsm9k"),
        ("aflow/executor=openai", "base_url is missing"),
        ("trainer.v1.trainer_mode=sync", "trainer.v1.trainer_mode='sync': input should be 'aflow_sync'"),
        ("algorithm.adv_estimator=gippo", "algorithm.adv_estimator=gippo"),
        ("algorithm.gigpo.mode=median", "algorithm.gigpo.mode='median'"),
        ("+algorithm.gigpo.step_weight=1", "algorithm.gigpo.step_weight=1: there is no such key"),
        (
            "+algorithm.gigpo.gamma=0.9",
            "algorithm.gigpo.gamma=0.9: the discount is verl's own key",
        ),
        ("algorithm.hgpo.history_length=-1", "algorithm.hgpo.history_length=-1"),
        ("algorithm.gamma=1.5", "algorithm.gamma=1.5"),
        ("reward.reward_manager.name=naive", "reward.reward_manager.name='naive': input should be 'aflow'"),
        ("aflow.proposer=random", "aflow.proposer=random"),
        ("aflow.proposer=guided", "proposer=guided with implementer.kind=rule"),
        ("aflow.q.kind=critic", "aflow.q.kind='critic'"),
        ("critic.enable=true", "critic.enable=true"),
        ("trainer.v1.sampler.sync_refill_failed_groups=true", "sync_refill_failed_groups=true"),
        ("aflow.problems.train=3", "train_batch_size=4"),
        ("data.val_files=train", "data.val_files=train has rows of the split train"),
        ("trainer.max_actor_ckpt_to_keep=1", "trainer.max_actor_ckpt_to_keep=1"),
        ("actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.model.lora.merge=false with q.kind=policy"),
        ("trainer.v1.trainer_mode=colocate_async", "trainer.v1.trainer_mode='colocate_async'"),
        ("trainer.use_v1=false", "trainer.use_v1=False: input should be True"),
        (
            "actor_rollout_ref.rollout.agent.default_agent_loop=null",
            "default_agent_loop=None: input should be 'aflow_s",
        ),
        ("aflow.problems.start=/nowhere", "problems.start=/nowhere"),
        ("actor_rollout_ref.model.path=/nowhere/policy", "actor_rollout_ref.model.path=/nowhere/policy"),
    ],
)
def test_a_mistake_is_named_with_its_key(policy: str, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(composed(policy, *override.split()))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value), "one paragraph"


def test_the_estimators_switches_in_the_yaml_are_the_schemas() -> None:
    """Every switch can be set without a `+`, and a run that sets none gets the defaults that the documents describe."""
    algorithm = composed().algorithm
    for name, estimator in ESTIMATORS.items():
        assert dict(algorithm.get(name) or {}) == estimator.config().model_dump(exclude={"gamma"})
    assert composed("algorithm.gigpo.mode=mean_std_norm").algorithm.hgpo.mode == "mean_std_norm"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["actor_rollout_ref.actor.optim.lr_scheduler_type=cosine"], "optim.lr_scheduler_type=cosine"),
        (["actor_rollout_ref.actor.optim.lr_warmup_steps=3"], "lr_warmup_steps=3"),
    ],
)
def test_what_a_replay_cannot_go_with_is_named(policy: str, overrides: list[str], said: str) -> None:
    replaying = (policy, "aflow.q.replay=2")
    assert check(composed(*replaying)).q.replay == 2
    with pytest.raises(ConfigError) as caught:
        check(composed(*replaying, *overrides))
    assert said in str(caught.value)


def test_ranks_that_cannot_share_a_mini_batch_are_named(policy: str) -> None:
    with pytest.raises(ConfigError, match=r"actor\.ppo_mini_batch_size=2: 3 ranks cannot share"):
        check(composed(policy, "trainer.n_gpus_per_node=3", "actor_rollout_ref.actor.ppo_mini_batch_size=2"))


def test_an_unreadable_data_file_is_named_with_its_line(policy: str, tmp_path: Path) -> None:
    lines = [json.dumps({"question": "1 + 1?", "answer": "#### 2"})] * 5
    (tmp_path / "gsm8k.jsonl").write_text("\n".join([*lines[:3], '{"question": 5}', *lines[3:]]))
    data = (f"aflow.task.path={tmp_path / 'gsm8k.jsonl'}", "aflow.task.train_size=0")
    config = composed(policy, "aflow/task=gsm8k", "aflow/executor=policy", *data)
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert "gsm8k.jsonl line 4" in str(caught.value)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_vocabulary_that_does_not_fit_is_an_error(policy: str) -> None:
    edit_json(Path(policy.partition("=")[2]) / "config.json", vocab_size=7)
    with pytest.raises(ConfigError, match="they do not belong together"):
        check(composed(policy))


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "qwen2"}'])
def test_a_model_whose_config_is_broken_is_named(policy: str, text: str) -> None:
    folder = Path(policy.partition("=")[2])
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json describes no qwen2: "):
        architecture(str(folder))
    if "qwen2" in text:
        check(composed(policy))  # transformers has defaults, and only a plan needs the sizes
        return
    with pytest.raises(ConfigError, match=r"actor_rollout_ref\.model\.path=.* does not load: "):
        check(composed(policy))


def test_ranks_of_a_sequence_are_counted_as_verl_counts_them() -> None:
    """The engine's key counts unless the actor's own, which verl deprecates, is above 1."""
    keys = [f"actor_rollout_ref.actor.{name}ulysses_sequence_parallel_size" for name in ("", "fsdp_config.")]
    both = [(1, 4), (2, 1), (2, 4)]
    found = [sequence_ranks(composed(f"{keys[0]}={own}", f"{keys[1]}={engines}")) for own, engines in both]
    assert found == [4, 2, 2]


def test_a_missing_chat_template_is_an_error(policy: str) -> None:
    (Path(policy.partition("=")[2]) / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match=r"no chat template.*custom_chat_template"):
        check(composed(policy))
    given = "actor_rollout_ref.model.custom_chat_template='{{ messages[0].content }}'"
    assert check(composed(policy, given)).q.kind == "policy"


def test_a_chat_template_that_refuses_our_roles_is_an_error(policy: str) -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (Path(policy.partition("=")[2]) / "chat_template.jinja").write_text(refuses)
    with pytest.raises(ConfigError, match=r"refuses a system message.*System role not supported"):
        check(composed(policy))


def test_a_policy_that_would_think_before_it_says_a_digit_is_an_error(policy: str) -> None:
    """Qwen3's template: an answer begins with <think> unless it is told otherwise."""
    thinks = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    (Path(policy.partition("=")[2]) / "chat_template.jinja").write_text(thinks)
    with pytest.raises(ConfigError, match="enable_thinking=false"):
        check(composed(policy))
    assert check(composed(policy, "+data.apply_chat_template_kwargs.enable_thinking=false")).q.kind == "policy"
    assert check(composed(policy, "aflow.q.kind=none", "aflow.rl_weight=0")).q.kind == "none"


@pytest.mark.parametrize("vocabulary", [{"<unk>": 0, "hello": 1}, {"<unk>": 0} | {str(n): n for n in range(1, 7)}])
def test_digits_that_are_no_tokens_of_their_own_are_an_error(policy: str, vocabulary: dict[str, int]) -> None:
    """A tokenizer says <unk> for each digit, or for some: their probabilities cannot be told apart."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")))
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(policy.partition("=")[2])
    with pytest.raises(ConfigError, match=r"model\.path.*no single token for the digits.*q\.kind=none"):
        check(composed(policy))
    assert check(composed(policy, "aflow.q.kind=none", "aflow.rl_weight=0")).q.kind == "none"


def test_a_run_without_our_node_is_left_alone() -> None:
    from aflow_env.training.launch.preflight import before_ray

    before_ray(OmegaConf.create({"algorithm": {"adv_estimator": "grpo"}}))


def test_a_wrong_screen_is_refused_before_the_run_is_locked(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the variable, its value and those that there are; nothing was written."""
    from aflow_env.training.launch.preflight import before_ray

    monkeypatch.setenv("AFLOW_SCREEN", "none")
    with pytest.raises(SystemExit, match=r"^aflow_env: AFLOW_SCREEN=none: set it to extract or verl"):
        before_ray(composed(policy, f"aflow.run_dir={tmp_path / 'run'}"))
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_config_and_refuses_another(policy: str, tmp_path: Path) -> None:
    """`aflow-env test RUN` reads it from the store; a folder with results of another config is not gone on with."""
    from aflow_env.store.settings import stored_config
    from aflow_env.store.store import SessionKey

    where = f"aflow.run_dir={tmp_path / 'run'}"
    aflow = check(composed(policy, where, "aflow.rl_weight=0.25"))
    lock_run(aflow)
    lock_run(check(composed(policy, where, "aflow.rl_weight=0.25", "aflow.rounds=9")))
    kept = stored_config(Store(tmp_path / "run" / "run.sqlite"))
    assert kept is not None
    assert (kept.rl_weight, kept.rounds) == (0.25, 9)
    with closing(Store(tmp_path / "run" / "run.sqlite")) as store:
        store.open_session(SessionKey("problem"), "arithmetic")
    with pytest.raises(ConfigError, match=r"rl_weight=0.5, the run has 0.25.*another run_dir"):
        lock_run(check(composed(policy, where, "aflow.rl_weight=0.5")))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("actor_rollout_ref.rollout.n=0", "actor_rollout_ref.rollout.n=0: input should be greater than or equal to 1"),
        ("data.train_batch_size=0", "data.train_batch_size=0: input should be greater than or equal to 1"),
        ("trainer.n_gpus_per_node=-1", "trainer.n_gpus_per_node=-1: input should be greater than or equal to 1"),
        ("trainer.nnodes=two", "trainer.nnodes='two': input should be a valid integer"),
        ("data.max_prompt_length=null", "data.max_prompt_length=None: input should be a valid integer"),
        ("actor_rollout_ref.actor.ppo_mini_batch_size=1.5", "ppo_mini_batch_size=1.5: input should be a valid integer"),
        ("trainer.save_freq=often", "trainer.save_freq='often': input should be a valid integer"),
        (
            "trainer.resume_mode=never",
            "trainer.resume_mode='never': input should be 'auto', 'disable' or 'resume_path'",
        ),
        ("actor_rollout_ref.rollout.temperature=0", "rollout.temperature=0: input should be greater than 0"),
        ("actor_rollout_ref.model.lora_rank=null", "model.lora_rank=None: input should be a valid integer"),
        ("data.val_files=null", "data.val_files=None: input should be a valid list"),
        ("algorithm.rollout_correction=3", "algorithm.rollout_correction=3: input should be a valid dictionary"),
        ("algorithm.hgpo=3", "algorithm.hgpo=3: input should be a valid dictionary"),
        ("actor_rollout_ref.actor.ulysses_sequence_parallel_size=0", "greater than or equal to 1"),
        (
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2",
            "does not divide the 1 GPUs of the run: set it to 1",
        ),
        ("data.seed=100000000000000000000000000", "data.seed=100000000000000000000000000: a number beyond 64 bits"),
        ("aflow.seed=100000000000000000000000000", "aflow.seed=100000000000000000000000000: input should be less"),
        ("aflow.budget.usd=inf", "aflow.budget.usd=inf: input should be a finite number"),
        ("aflow.run_dir=", "aflow.run_dir=''"),
        ("aflow.rounds=100000000000000000000", "aflow.rounds=100000000000000000000: input should be less"),
        (
            "aflow.task.path='${oc.env:NOPE}'",
            "does not resolve: KeyError raised while resolving interpolation: \"Environment variable 'NOPE'",
        ),
        ("trainer.experiment_name='${trainer.experiment_name}'", "Recursive interpolation"),
    ],
)
def test_numbers_and_names_that_nothing_could_use_are_refused(policy: str, override: str, said: str) -> None:
    """A wrong count, type or choice, a number beyond 64 bits and a name that is not set end before Ray starts."""
    with pytest.raises(ConfigError) as found:
        check(composed(policy, override))
    assert said in str(found.value)


@pytest.mark.parametrize(("given", "wanted"), [(None, "0"), ("7", "7")])
def test_rays_workers_keep_the_drivers_niceness(
    given: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would add 15, and a busy process beside the training would get nearly all of the cores."""
    monkeypatch.delenv("RAY_worker_niceness", raising=False)
    if given:
        monkeypatch.setenv("RAY_worker_niceness", given)
    keep_niceness()
    assert os.environ["RAY_worker_niceness"] == wanted  # noqa: SIM112  Ray spells it so


@pytest.mark.parametrize("key", ["budget.usd", "stop.usd", "reward.cost_weight"])
def test_what_counts_usd_needs_a_price(key: str) -> None:
    check_parts(load(OPENAI, UNGUIDED))
    check_parts(load(("stop.usd=2", "reward.cost_weight=1"), UNGUIDED))  # the simulation has prices
    with pytest.raises(ConfigError, match=rf"{key} is set, but executor\.model=unheard-of has no price"):
        check_parts(load((*OPENAI, f"{key}=2"), UNGUIDED))


def test_parts_that_cannot_be_had_are_named_before_a_training_starts(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n' * 10, encoding="utf-8")
    on_file = (*POLICY, f"task.path={tmp_path / 'gsm8k.jsonl'}")
    check_parts(load(on_file))
    with pytest.raises(ConfigError, match=r"task\.train_size=5: task\.path=.*no train problems.*task\.train_size=0"):
        check_parts(load((*on_file, "task.train_size=5")))
    with pytest.raises(ConfigError, match=r"executor\.mode=record with executor\.kind=policy: .*mode=live"):
        check_parts(load((*on_file, "executor.mode=record")))
    with pytest.raises(ConfigError, match=r"cache=.*gsm8k\.jsonl.* cannot be written: Not a directory"):
        check_parts(load((*OPENAI, f"cache={tmp_path / 'gsm8k.jsonl' / 'cache'}")))
    with pytest.raises(ConfigError, match=r"problems\.start=default would not be run: .*Custom.*problems\.start"):
        check_parts(load((*on_file, "task.options.operators=[Programmer]")))


def test_a_resumed_run_keeps_its_id_and_a_fresh_one_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id lies in the run folder; `resume_mode=disable` makes another, and other loggers need none."""

    def id_of(mode: str, **changes: object) -> str | None:
        monkeypatch.delenv("WANDB_RUN_ID", raising=False)
        trainer = {"logger": ["console", "wandb"], "default_local_dir": str(tmp_path / "run"), "resume_mode": mode}
        continue_run(OmegaConf.create({"trainer": trainer | changes}))
        return os.environ.get("WANDB_RUN_ID")

    monkeypatch.setenv("WANDB_RESUME", "allow")
    first = id_of("auto")
    assert first
    assert id_of("auto") == first
    assert id_of("disable") != first
    assert id_of("auto", logger=["console"]) is None
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)


def test_the_temperature_of_a_run_is_that_of_its_last_start(tmp_path: Path) -> None:
    """A first start may fail; an exported policy is read at the temperature that it was trained at."""
    aflow = load((f"run_dir={tmp_path}",))
    for temperature in (1.0, 0.7):
        lock_run(aflow, temperature=temperature)
    with closing(Store(tmp_path / "run.sqlite")) as store:
        assert store.meta(ROLLOUT_TEMPERATURE) == "0.7"


def test_a_second_training_in_a_folder_is_refused_until_the_first_has_died(tmp_path: Path) -> None:
    """It would take the first one's rounds back, and their checkpoints would mix."""
    aflow = load((f"run_dir={tmp_path}",))
    holds, says = os.pipe()
    if not (child := os.fork()):
        lock_run(aflow)
        os.write(says, b"!")
        signal.pause()
    try:
        assert os.read(holds, 1) == b"!"
        with pytest.raises(ConfigError, match=r"another process searches or trains there; .*default_local_dir"):
            lock_run(aflow)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (holds, says):
            os.close(end)
    lock_run(aflow)
    lock_run(aflow)
