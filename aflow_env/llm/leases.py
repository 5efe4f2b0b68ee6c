# SPDX-License-Identifier: Apache-2.0
"""Share a provider's places among processes, without a question before each call.

    share_i = max-min fair share of the provider's places, by the wishes of all processes
    may_i   = min(share_i, places - leased to the others)

Every quarter of a second a process reports how many calls it has in flight and how many it wants, and gets the number
that it may have (`Leases.renew`). In between it gives free places to its own calls. The book never counts less for a
process than it has in flight, so all together never exceed the provider's places. A process that did not renew for
`LAPSE` seconds has died, and loses its places. Places that nobody wants are leased out equally, so a process waits for
no answer while there is room.

A "provider" with one place is a turn that one process at a time may have, for example to evaluate a workflow.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aflow_env.errors import InfrastructureError

BEAT = 0.25  # seconds between two renewals
SOONEST = 0.02  # seconds between a renewal and the next, when calls wait
LAPSE = 5.0  # seconds without a renewal after which a process counts as dead
TURN = 5.0  # seconds after which an odd place goes to the next process


def allot(places: int, wanted: Mapping[str, int], turn: int = 0) -> dict[str, int]:
    """Return max-min fair shares: a process that gets less than it wants has no less than any other.

    Odd places go round with `turn`. Shares sum to `places` at most. A surplus is added equally.
    """
    shares, left = dict.fromkeys(wanted, 0), places
    hungry = sorted(name for name, want in wanted.items() if want > 0)
    while hungry and left >= len(hungry):
        each = left // len(hungry)
        for name in hungry:
            more = min(each, wanted[name] - shares[name])
            shares[name] += more
            left -= more
        hungry = [name for name in hungry if shares[name] < wanted[name]]
    if hungry:
        for k in range(left):
            shares[hungry[(turn + k) % len(hungry)]] += 1
        return shares
    return {name: share + left // len(shares) for name, share in shares.items()}


@dataclass(frozen=True)
class _Lease:
    places: int
    wanted: int
    renewed: float


@dataclass
class Leases:
    """The book of all providers, in memory: after a restart every process reports its calls in flight again.

    For `settling` seconds no process gets more places than it has in use (after a restart: until all have reported).
    """

    settling: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _books: dict[str, dict[str, _Lease]] = field(default_factory=dict)
    _opened: float = field(init=False)

    def __post_init__(self) -> None:
        self._opened = self.clock()

    def renew(self, provider: str, places: int, process: str, used: int, wanted: int) -> int:
        """Return how many calls `process` may have in flight. It has `used`, and wants `wanted` in all.

        With less than `used` it begins none until enough have ended. 0 and 0 end the lease.
        """
        now = self.clock()
        book = self._books.get(provider, {})
        others = {name: each for name, each in book.items() if name != process and each.renewed > now - LAPSE}
        self._books[provider] = others
        if not wanted:
            if not others:
                del self._books[provider]
            return 0
        free = places - sum(each.places for each in others.values())
        wishes = {name: each.wanted for name, each in others.items()} | {process: wanted}
        share = min(free, allot(places, wishes, int(now / TURN))[process])
        may = min(share, used) if now < self._opened + self.settling else share
        others[process] = _Lease(max(may, used), wanted, now)
        return max(0, may)


Renew = Callable[[int, int], Awaitable[int]]


class LeasedPlaces:
    """An asyncio.Semaphore whose places other processes share: `async with places: ...`, first come first served.

    `renew(used, wanted)` asks the book, and `on_answer` gets its answer. All waiting calls raise a failure of `renew`.
    """

    def __init__(self, renew: Renew, on_answer: Callable[[int], None] = lambda may: None) -> None:
        self._renew = renew
        self._on_answer = on_answer
        self._used = 0
        self._may = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._someone_waits = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        if not place.done():
            self._someone_waits.set()
        self._renewing = self._renewing or asyncio.create_task(self._keep_renewing())
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                await self.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._used -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._used < self._may:
            if not (place := self._waiting.popleft()).done():
                self._used += 1
                place.set_result(None)

    async def _keep_renewing(self) -> None:
        try:
            while self._used or self._waiting:
                self._may = 0  # a call that comes meanwhile was not counted, and waits
                self._may = await self._renew(self._used, self._used + len(self._waiting))
                self._on_answer(self._may)
                self._admit()
                await asyncio.sleep(SOONEST)
                self._someone_waits.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._someone_waits.wait(), BEAT - SOONEST)
            self._may = 0
            await self._renew(0, 0)
        except Exception as error:
            for place in self._waiting:
                if not place.done():
                    place.set_exception(error)
            self._waiting.clear()
            if not isinstance(error, InfrastructureError):
                raise  # a bug of ours: asyncio logs it, even where no call waits to raise it
        finally:
            self._may, self._renewing = 0, None
            if self._waiting:  # they came while the lease ended
                self._renewing = asyncio.create_task(self._keep_renewing())
