# SPDX-License-Identifier: Apache-2.0
"""`plan` says what the end of a run may cost, beside its steps."""

import pytest

pytest.importorskip("verl", reason="needs verl")

from tests.cli.conftest import Command


def test_the_plan_says_what_the_end_costs_at_most(aflow: Command) -> None:
    """In calls and, where a price is known, in USD; without a limit it says that there is none."""
    said = aflow("plan", "recipe_0_5b_one_80gb", "aflow.final_calls=500")
    text = " ".join(said.out.split())
    assert "Beside the steps, the end (choice and test): at most 500 runs, 500 executor calls: final_calls" in text
    found = aflow("plan", "recipe_0_5b_one_80gb", "aflow.final_calls=null")
    assert "runs, no limit of executor calls: final_calls" in " ".join(found.out.split())
    assert aflow("plan", "recipe_0_5b_one_80gb", "--json").json["final_calls"] == 2000
    free = aflow("plan", "recipe_0_5b_one_80gb", "aflow/executor=policy", "--calls", "0")
    assert "final_calls, 0.00 USD" in " ".join(free.out.split()), "no call is not an unknown price"
