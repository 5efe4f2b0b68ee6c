# SPDX-License-Identifier: Apache-2.0
"""What `build_client` puts together for the simulated executor, and what importing the room does not load."""

import subprocess
import sys

import pytest

from aflow_env.config import LLMConfig
from aflow_env.errors import BudgetExhausted
from aflow_env.llm import build_client
from aflow_env.llm.prices import PICO
from tests.llm.helpers import MemoryLog, ask, budget


async def test_the_simulated_executor_is_recorded_priced_and_under_the_budget():
    account, kept = budget(calls=1, usd=1), MemoryLog()
    client = build_client(LLMConfig(kind="simulated"), budget=account, log=kept, seed=0)
    first = await client.complete(ask("Tom has 3 apples and buys 4. How many apples has Tom?"))
    assert await client.complete(ask("Tom has 3 apples and buys 4. How many apples has Tom?")) == first
    assert account.totals.certain.calls == 1
    assert account.totals.certain.picos == round(first.cost_usd * PICO)
    with pytest.raises(BudgetExhausted):
        await client.complete(ask("another"))


def test_importing_the_room_loads_no_client_library():
    code = (
        "import sys, aflow_env.llm; print([n for n in ('aiohttp', 'anthropic', 'torch', 'verl') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
