# SPDX-License-Identifier: Apache-2.0
"""The cost of a call: the dated price list, the user's own list before it, and exact arithmetic.

Money is counted in whole pico-USD (1e-12 USD), so sums are exact in any order. A model without a price does not cost 0.
With a USD budget it is a ConfigError, and without one its cost is reported as unknown.
"""

import datetime
import logging
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from aflow_env.config import LLMConfig, config_directory, read_yaml
from aflow_env.config.section import Section
from aflow_env.errors import ConfigError
from aflow_env.llm.client import Request

log = logging.getLogger(__name__)

PICO = 10**12
Rate = Annotated[float, Field(ge=0, le=100_000)]


class Rates(Section):
    """USD per million tokens. Cached tokens cost as much as others unless their rates are given."""

    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write: Rate | None = None

    def picos(self, fresh: int, output: int, read: int = 0, write: int = 0) -> int:
        """Return the exact cost in pico-USD: fresh prompt tokens, reply tokens, tokens from and to the cache."""
        parts = ((fresh, self.input), (output, self.output), (read, self.cache_read), (write, self.cache_write))
        return sum(tokens * round((self.input if rate is None else rate) * PICO / 1e6) for tokens, rate in parts)


class LongPrompt(Rates):
    """Rates for a whole call whose prompt, cached tokens included, is longer than `above` tokens."""

    above: Annotated[int, Field(ge=1)]


class Price(Rates):
    """The rates of one model."""

    long_prompt: LongPrompt | None = None

    @property
    def is_free(self) -> bool:
        """Whether no call costs anything."""
        return not any(tier.picos(1, 1, 1, 1) for tier in (self, self.long_prompt or self))

    def cost(self, fresh: int, output: int, read: int = 0, write: int = 0) -> int:
        """Return the exact cost of one call in pico-USD."""
        tier = self.long_prompt if self.long_prompt and fresh + read + write > self.long_prompt.above else self
        return tier.picos(fresh, output, read, write)

    def worst(self, request: Request) -> int:
        """Return the most that an attempt at `request` can cost in pico-USD: all bounds, at the dearest rate."""
        bound, reply = request.input_bound, request.output_bound
        long = self.long_prompt if self.long_prompt and bound > self.long_prompt.above else self
        prompts = ((bound, reply), (0, reply, bound), (0, reply, 0, bound))
        return max(tier.picos(*prompt) for tier in (self, long) for prompt in prompts)


BATCH_SHARE = 0.5  # the cost of a call in Anthropic's Message Batches, as a share of its price


def at_share(price: Price, share: float) -> Price:
    """Return a price with all its rates times `share`."""

    def cut(rates: Rates) -> dict[str, object]:
        return {name: value * share for name in Rates.model_fields if (value := getattr(rates, name)) is not None}

    tier = price.long_prompt
    return price.model_copy(update={**cut(price), "long_prompt": tier and tier.model_copy(update=cut(tier))})


FREE = Price(input=0, output=0)


class PriceList(Section):
    """A price file: see conf/aflow/prices.yaml for its form."""

    as_of: datetime.date | None = None
    sources: tuple[str, ...] = ()
    models: dict[str, Price]


@lru_cache(maxsize=8)
def load_prices(path: Path) -> PriceList:
    """Read a price file. Raises ConfigError that names the file and the wrong entry."""
    return read_yaml(path, PriceList, "prices")


def find_price(config: LLMConfig, needed: bool, role: str = "executor") -> Price | None:
    """Return the price of the configured model, None when it is unknown and no USD budget needs it (one warning).

    `prices=free`: the user's own server costs nothing. Raises ConfigError when `needed` (a USD budget is set) and the
    model is in neither list, because a guess of 0 would make the budget worthless.
    """
    if config.prices == "free":
        return FREE
    shipped = config_directory() / "aflow" / "prices.yaml"
    files = [Path(config.prices).expanduser(), shipped] if config.prices else [shipped]
    for file in files:
        if price := load_prices(file).models.get(config.model):
            return price
    fix = (
        f"Add it to a YAML file (models: {{{config.model}: {{input: USD, output: USD}}}}, per million tokens) named by "
        f"{role}.prices, or set {role}.prices=free for a server of your own"
    )
    if needed:
        names = " and ".join(map(str, files))
        raise ConfigError(f"budget.usd is set, but {role}.model={config.model} has no price in {names}. {fix}.")
    say_once(f"{role}: no price is known for {config.model}; its cost is reported as unknown. {fix}.")
    return None


@lru_cache(maxsize=256)
def say_once(text: str) -> None:
    """Log a warning, once per process."""
    log.warning(text)
