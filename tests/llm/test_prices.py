# SPDX-License-Identifier: Apache-2.0
"""Prices are exact, dated, the user's to override, and never guessed."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.config import config_directory
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.prices import FREE, PICO, LongPrompt, Price, find_price, load_prices
from tests.llm.helpers import ask, budget, config


def test_the_shipped_list_is_dated_has_sources_and_prices_output_at_least_as_input():
    prices = load_prices(config_directory() / "aflow" / "prices.yaml")
    assert prices.as_of
    assert prices.sources
    for name, price in prices.models.items():
        assert 0 < price.input <= price.output, name
        assert (price.cache_read or 0) <= price.input, name


def test_cache_reads_and_writes_have_prices_of_their_own():
    price = Price(input=3, output=15, cache_read=0.3, cache_write=3.75)
    assert price.cost(1_000_000, 0) == 3 * PICO
    assert price.cost(0, 1_000_000) == 15 * PICO
    assert price.cost(0, 0, read=1_000_000) == 3 * PICO // 10
    assert price.cost(0, 0, write=1_000_000) == 375 * PICO // 100
    assert Price(input=3, output=15).cost(0, 0, read=1_000_000) == 3 * PICO


def test_a_long_prompt_has_its_own_rates_for_the_whole_call():
    price = Price(input=0.1, output=0.5, long_prompt=LongPrompt(above=100_000, input=0.5, output=2.5))
    assert price.cost(100_000, 1000) == (100_000 * 10 + 1000 * 50) * PICO // 10**8
    assert price.cost(60_000, 1000, read=40_001) == (100_001 * 50 + 1000 * 250) * PICO // 10**8


RATE = st.floats(0, 100).map(lambda rate: round(rate, 4))


@given(
    rates=st.tuples(RATE, RATE, st.none() | RATE, st.none() | RATE),
    long=st.none() | st.tuples(st.integers(1, 2000), RATE, RATE, st.none() | RATE, st.none() | RATE),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    text=st.text(max_size=400),
)
def test_no_possible_usage_costs_more_than_the_worst_case(rates, long, shares, text):
    names = ("input", "output", "cache_read", "cache_write")
    tier = LongPrompt(above=long[0], **dict(zip(names, long[1:], strict=True))) if long else None
    price = Price(**dict(zip(names, rates, strict=True)), long_prompt=tier)
    request = ask(text, max_tokens=50)
    prompt = int(shares[0] * request.input_bound)
    read = int(shares[1] * prompt)
    write = int(shares[2] * (prompt - read))
    output = int(shares[3] * request.output_bound)
    assert price.cost(prompt - read - write, output, read, write) <= price.worst(request)


def test_the_users_file_wins_and_the_shipped_list_fills_in(tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("models: {claude-haiku-4-5: {input: 9, output: 9}}")
    over = find_price(config("anthropic", prices=str(mine), model="claude-haiku-4-5"), needed=True)
    rest = find_price(config("anthropic", prices=str(mine), model="claude-sonnet-5-5"), needed=True)
    assert over == Price(input=9, output=9)
    assert rest
    assert rest.input == 2


def test_with_a_usd_budget_an_unknown_model_is_an_error_that_says_how_to_price_it():
    with pytest.raises(ConfigError, match=r"executor\.model=claude-haiku-4 has no price.*executor\.prices"):
        build_client(config("anthropic", prices=None, model="claude-haiku-4"), budget=budget(usd=1), log=None, seed=0)


def test_without_one_the_cost_is_unknown_not_zero_and_that_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert find_price(config("openai", prices=None, model="asked-for-here-alone"), needed=False) is None
    assert [record for record in caplog.records if "asked-for-here-alone" in record.message][1:] == []
    assert "unknown" in caplog.text


def test_free_is_free():
    assert find_price(config("openai", prices="free", model="mine"), needed=True) is FREE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: {m: {input: -1, output: 2}}", "models.m.input"), ("models: {m: {input: 1}}", "models.m.output"),
        ("models: [", "cannot be read: while parsing"), ("", "valid dictionary"),
    ],
)  # fmt: skip
def test_a_wrong_price_file_is_named_with_its_entry(tmp_path: Path, text, told):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"prices\.yaml") as caught:
        load_prices(file)
    assert told in str(caught.value)


def test_a_missing_price_file_is_named(tmp_path: Path):
    """Also one in another encoding than UTF-8."""
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read: No such file"):
        load_prices(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("models: {}  # Währung".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml cannot be read: 'utf-8' codec"):
        load_prices(tmp_path / "latin.yaml")
