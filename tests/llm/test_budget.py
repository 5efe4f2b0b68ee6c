# SPDX-License-Identifier: Apache-2.0
"""The budget is a ceiling, exact to the call, whatever runs at the same time and whoever is killed."""

import asyncio
import multiprocessing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.errors import BudgetExhausted, InfrastructureError
from aflow_env.llm.budget import Budget, BudgetClient, Ceiling, Ledger, Spend, Totals
from aflow_env.llm.client import Completion, LLMError, Request
from aflow_env.llm.prices import PICO, Price
from tests.llm.helpers import ask, budget

PRICE = Price(input=3, output=15)


@dataclass
class Call:
    """How one fake call goes: turns of the loop it takes, its tokens as a share of the worst case, its ending."""

    turns: int
    share: float
    ending: str


@dataclass
class FakeProvider:
    """Answers as told, and watches that the ceiling holds while calls are in flight."""

    calls: dict[str, Call]
    account: Budget | None = None
    answered: list[Completion] = field(default_factory=list)
    doubtful: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        assert self.account
        call = self.calls[request.messages[0].content]
        for _ in range(call.turns):
            self._watch()
            await asyncio.sleep(0)
        fresh, output = max(1, int(call.share * request.input_bound)), int(call.share * request.output_bound)
        completion = Completion(
            text="x", model="m", input_tokens=fresh, output_tokens=output, cost_usd=PRICE.cost(fresh, output) / PICO
        )
        if call.ending == "turned away":
            raise LLMError("rate_limited", "no")
        if call.ending == "unknown":
            self.doubtful.append(request)
            raise LLMError("timeout", "no", bill="unknown")
        self.answered.append(completion)
        if call.ending == "told":
            raise LLMError("malformed", "no", bill="told", billed=completion)
        return completion

    def _watch(self) -> None:
        assert self.account
        totals = self.account.totals
        assert not self.account.ceiling.passed_by(totals.spent + totals.reserved)

    async def aclose(self) -> None: ...


CALLS = st.lists(
    st.builds(
        Call, st.integers(0, 4), st.floats(0, 1), st.sampled_from(["good", "good", "turned away", "unknown", "told"])
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=150)
@given(
    calls=CALLS,
    usd=st.none() | st.floats(0, 0.05),
    tokens=st.none() | st.integers(0, 8000),
    count=st.none() | st.integers(0, 20),
)
def test_concurrent_calls_never_pass_the_ceiling_and_every_call_is_settled_exactly(calls, usd, tokens, count):
    provider = FakeProvider({f"call {k}": call for k, call in enumerate(calls)})
    provider.account = budget(usd=usd, tokens=tokens, calls=count)
    client = BudgetClient(provider, provider.account, PRICE, seconds=60)
    requests = [ask(f"call {k}", max_tokens=100) for k in range(len(calls))]

    async def run() -> list[object]:
        return await asyncio.gather(*map(client.complete, requests), return_exceptions=True)

    results = asyncio.run(run())
    totals = provider.account.totals
    worst = [
        Spend(PRICE.worst(request), request.input_bound + request.output_bound, 1) for request in provider.doubtful
    ]
    exact = [Spend(round(c.cost_usd * PICO), c.tokens, 1) for c in provider.answered]
    assert totals.certain == sum(exact, Spend())
    assert totals.uncertain == sum(worst, Spend())
    assert totals.reserved == Spend()
    assert not provider.account.ceiling.passed_by(totals.spent)
    stopped = [request for request, r in zip(requests, results, strict=True) if isinstance(r, BudgetExhausted)]
    for request in stopped:  # nobody is turned away whose worst case still fits at the end
        need = Spend(PRICE.worst(request), request.input_bound + request.output_bound, 1)
        assert provider.account.ceiling.passed_by(totals.spent + need)
    assert len(stopped) + sum(not isinstance(r, BudgetExhausted) for r in results) == len(calls)


async def test_a_call_that_fits_after_others_settle_waits_instead_of_failing():
    one = ask("call 0", max_tokens=100)
    provider = FakeProvider({f"call {k}": Call(3, 0.01, "good") for k in range(10)})
    provider.account = budget(usd=1.5 * PRICE.worst(one) / PICO)
    client = BudgetClient(provider, provider.account, PRICE, seconds=60)
    await asyncio.gather(*(client.complete(ask(f"call {k}", max_tokens=100)) for k in range(10)))
    assert provider.account.totals.certain.calls == 10


async def test_the_error_names_the_key_to_raise():
    provider = FakeProvider({"call 0": Call(0, 0, "good")})
    provider.account = budget(calls=0)
    with pytest.raises(BudgetExhausted, match=r"budget\.calls is reached"):
        await BudgetClient(provider, provider.account, PRICE, seconds=60).complete(ask("call 0"))


def test_a_reservation_that_nobody_settles_stays_counted_at_its_worst_case(tmp_path: Path):
    now = [1000.0]
    ledger = Ledger(tmp_path / "budget.sqlite", clock=lambda: now[0])
    lost = ledger.reserve(Spend(7, 70, 1), Ceiling(), seconds=60)
    assert lost is not None
    ledger.close()  # as if killed

    again = Ledger(tmp_path / "budget.sqlite", clock=lambda: now[0])
    assert again.totals().reserved == Spend(7, 70, 1)
    now[0] += 61
    assert again.totals().uncertain == Spend(7, 70, 1)
    again.settle(lost, Spend(1, 1, 1))  # too late: it may have been paid for twice by now
    assert again.totals().spent == Spend(7, 70, 1)


def test_a_reservation_that_is_asked_for_twice_under_one_ticket_is_made_once(tmp_path: Path):
    ledger = Ledger(tmp_path / "budget.sqlite")
    for _ in range(2):
        assert ledger.reserve(Spend(5, 50, 1), Ceiling(calls=1), 60, ticket=2**61 + 7) == 2**61 + 7
    assert ledger.totals().reserved == Spend(5, 50, 1)
    for _ in range(2):
        ledger.settle(2**61 + 7, Spend(1, 10, 1))
    assert ledger.totals() == Totals(Spend(1, 10, 1), Spend(), Spend())


def _spend_what_you_can(path: Path, ceiling: Ceiling, won: "multiprocessing.Queue[int]") -> None:
    ledger, mine = Ledger(path), 0
    try:
        while True:
            ticket = ledger.reserve(Spend(3, 0, 1), ceiling, seconds=60)
            if ticket is not None:
                ledger.settle(ticket, Spend(2, 0, 1))
                mine += 1
    except BudgetExhausted:
        won.put(mine)


def test_processes_share_one_ceiling(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    won: multiprocessing.Queue[int] = context.Queue()
    ceiling = Ceiling(picos=401)
    path = tmp_path / "budget.sqlite"
    workers = [context.Process(target=_spend_what_you_can, args=(path, ceiling, won)) for _ in range(3)]
    for worker in workers:
        worker.start()
    calls = sum(won.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert calls == 200  # after 199 calls 398 are spent, and 3 more still fit
    assert Ledger(path).totals().spent == Spend(400, 0, 200)


def test_a_full_disk_is_a_failure_of_the_world_that_names_the_file(tmp_path: Path) -> None:
    """What was on file stays, the call is not made, and the text says what to do."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ticket = ledger.reserve(Spend(1, 1, 1), Ceiling(), 60.0)
    assert ticket is not None
    ledger._database.execute("PRAGMA max_page_count = 1")  # no page more than there are

    def fill() -> None:
        for _ in range(10_000):
            ledger.reserve(Spend(1, 1, 1), Ceiling(), 60.0)

    with pytest.raises(InfrastructureError, match=rf"{path} cannot be used \(database or disk is full\): make room"):
        fill()
    ledger._database.execute("PRAGMA max_page_count = 1000000")
    ledger.settle(ticket, Spend(1, 1, 1))
    assert ledger.totals().certain == Spend(1, 1, 1)


async def test_what_has_no_known_price_is_counted_apart_and_said_to_be_unknown() -> None:
    """A cost that nobody knows is never 0.0000 USD."""

    class Unpriced:
        async def complete(self, request: Request) -> Completion:
            return Completion(text="x", model="m", input_tokens=1, output_tokens=1, cost_known=False)

        async def aclose(self) -> None: ...

    account = budget()
    await BudgetClient(Unpriced(), account, None, 60.0).complete(ask("x"))
    assert account.totals.spent == Spend(0, 2, 1, unpriced=1)
    assert account.totals.spent.money == "unknown"
    assert (account.totals.spent + Spend(PICO, 1, 1)).money == "at least 1.0000 USD (without a price: 1 call)"
    assert Spend(PICO, 1, 1).money == "1.0000 USD"
