# SPDX-License-Identifier: Apache-2.0
"""Ask language models through layers that `build_client` puts together.

    provider -> keep -> budget -> limits -> retry -> record

The provider makes one attempt. Each attempt is reserved and settled in the budget and passes the provider's limits, so
retries are paid for and queued like any other. The log is asked first, and has each answer before its cost is settled.
"""

import json
from collections.abc import Callable
from pathlib import Path

from aflow_env.config import LLMConfig
from aflow_env.config.nodes import SERVERS
from aflow_env.errors import ConfigError
from aflow_env.llm.budget import Budget, BudgetClient
from aflow_env.llm.client import LLMClient, Nobody
from aflow_env.llm.keys import NO_KEY, ApiKey, load_key
from aflow_env.llm.prices import BATCH_SHARE, FREE, Price, at_share, find_price, say_once
from aflow_env.llm.provider_limits import LimitedClient, ProviderLimits, RetryingClient
from aflow_env.llm.providers.policy_server import Generate, PolicyClient
from aflow_env.llm.record import CompletionLog, KeepingClient, Mode, RecordingClient
from aflow_env.llm.simulated.landscape import load_landscape

DAY = 86_400.0  # seconds that a batch may take
Served = Callable[[LLMConfig, Price | None, ApiKey, int], LLMClient]


def build_client(
    config: LLMConfig,
    *,
    budget: Budget,
    log: CompletionLog | None,
    cache: CompletionLog | None = None,
    seed: int,
    generate: Generate | None = None,
    limits: ProviderLimits | None = None,
    batches: Path | None = None,
    role: str = "executor",
    priced_for: str = "",
    served: Served | None = None,
    kept_under: str = "",
) -> LLMClient:
    """Return the client that `config`, the node `role`, describes. It belongs to the event loop that first uses it.

    Clients share `budget`, and clients of one provider `limits`, by passing the same object. `log` None saves nothing.
    `cache` is a log that runs share (mode=record). `generate` asks the policy (kind=policy), whose
    completions are not saved, because other weights give others. `batches` is the file with the ids of batches
    (batch=true), None: memory. `priced_for` names a key, beside a USD budget, that needs a price. `served` replaces
    OpenAIClient. `kept_under` replaces the config as the scope of the log's keys. Raises ConfigError when a key, a
    price, `generate` or a recorded log is missing.
    """
    unsaved = log is None or config.kind == "policy"
    if config.mode == "replay" and unsaved:
        raise ConfigError(
            f"{role}.mode=replay needs a run whose completions were recorded: set run_dir to one, or set "
            f"{role}.mode=record."
        )
    mode: Mode = "live" if unsaved else config.mode
    scope = kept_under or _scope(config, seed)
    if mode == "replay":
        return RecordingClient(None, log, mode, scope)
    price, key = None, NO_KEY
    if config.kind in SERVERS:
        price, key = _price_and_key(config, role, budget.ceiling.picos is not None, priced_for)
    client, price = _attempt(config, seed, role, price, key, generate, batches, served)
    if mode == "record" and log is not None:
        client = KeepingClient(client, log, scope, cache)
    longest = DAY if config.batch else config.timeout_seconds
    client = BudgetClient(client, budget, price, seconds=2 * longest + 60)
    client = LimitedClient(client, limits or ProviderLimits(config, role))
    client = RetryingClient(client, config.max_attempts, config.retry_seconds, config.retry_max_seconds)
    # Other roles ask again after a refusal: nothing that was scored depends on it.
    return RecordingClient(client, log, mode, scope, cache, saves_silence=role == "executor")


def _price_and_key(config: LLMConfig, role: str, needed: bool, priced_for: str) -> tuple[Price | None, ApiKey]:
    """Raise ConfigError when either is missing, or when the config repeats the key elsewhere."""
    price = find_price(config, needed=needed, role=role)
    if priced_for and price is None:
        raise ConfigError(
            f"{priced_for} is set, but {role}.model={config.model} has no price: name a YAML that has it, in the form "
            f"of conf/aflow/prices.yaml, in {role}.prices, or leave {priced_for} out."
        )
    key = load_key(config, role)
    for name, value in config.departures("headers", "query", "extra_body").items():
        if key.scrub(written := json.dumps(value)) != written:
            raise ConfigError(f"{role}.{name} holds the API key, and a config is stored: leave the key out there.")
    return price, key


def _attempt(
    config: LLMConfig,
    seed: int,
    role: str,
    price: Price | None,
    key: ApiKey,
    generate: Generate | None,
    batches: Path | None,
    served: Served | None,
) -> tuple[LLMClient, Price | None]:
    """Return the client of one attempt, and its price. Heavy libraries are imported only where they are used."""
    match config.kind:
        case "table":
            return Nobody(), FREE
        case "simulated":
            from aflow_env.llm.simulated.executor import SimulatedClient

            scape = load_landscape(config.landscape)
            price = Price(input=scape.usd_per_million_input, output=scape.usd_per_million_output)
            return SimulatedClient(scape, seed), price
        case "policy":
            if generate is None:
                raise ConfigError(
                    f"{role}.kind=policy asks the model that is being trained, and nothing is being trained here. Run "
                    "it under python -m verl.trainer.main_ppo, or serve the checkpoint (vllm serve PATH) and set "
                    f"{role}.kind=openai {role}.base_url=http://localhost:8000/v1 {role}.model=PATH."
                )
            return PolicyClient(generate, config.model, seed, config.timeout_seconds), FREE
        case "openai":
            from aflow_env.llm.providers.openai import OpenAIClient

            if config.send_temperature is False:
                say_once(
                    f"{role}.send_temperature=false: {config.model} takes no temperature, so the draws of an ensemble "
                    "differ as the server likes"
                )
            return (served or OpenAIClient)(config, price, key, seed), price
        case "anthropic":
            from aflow_env.llm.providers.anthropic import AnthropicClient
            from aflow_env.llm.providers.batch import AnthropicBatchClient, BatchBook

            if not config.send_temperature:
                say_once(
                    f"{role}.temperature={config.temperature:g} is not sent, nor is sample_temperature: the Claude API "
                    "has no temperature any more, so equal prompts get different answers (recorded ones are found "
                    f"again). {role}.send_temperature=true sends it, for older models and other servers"
                )
            if not config.batch:
                return AnthropicClient(config, price, key), price
            price = at_share(price, BATCH_SHARE) if price else None
            return AnthropicBatchClient(config, price, key, BatchBook(batches)), price


def _scope(config: LLMConfig, seed: int) -> str:
    """Return everything that decides a completion beside the request, so a log never mixes models, seeds or landscapes.

    A provider without a seed gives the same draw k of a prompt for all seeds.
    """
    decisive = {**config.decisive, "base_url": config.base_url}
    if config.kind == "simulated":
        decisive["landscape"] = load_landscape(config.landscape).model_dump(mode="json")
    seeded = config.kind in ("simulated", "policy") or (config.kind == "openai" and config.send_seed)
    return json.dumps({**decisive, "seed": seed if seeded else None}, sort_keys=True)


__all__ = ["Budget", "CompletionLog", "LLMClient", "ProviderLimits", "build_client"]
