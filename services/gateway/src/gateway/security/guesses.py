"""Unknown keys and attempts to connect: an address that is refused again and again is not passed on to accounts any more.

Without this, whoever makes up keys has accounts look up each of them, at no cost to themselves.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from common.errors import Transient
from gateway.domain.client_address import rate_limit_address
from gateway.security.rate_limits import RateLimits

AT_ONCE = 5
"""Keys of one address that accounts is asked about at the same time: far fewer than an address may be refused."""
WAITING_MAX = 200
WAIT_SECONDS = 8.0

Refused = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Turns:
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    present: int = 0


class Guesses:
    """Counts refusals per address, against the limit of addresses but apart from logins."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._asking: Counter[str] = Counter()
        self._turns: dict[str, _Turns] = {}

    @asynccontextmanager
    async def asking(self, address: str) -> AsyncIterator[Refused]:
        """Ask accounts within the block, and call what it gives when the answer was a refusal.

        Raises Problem 429 `rate_limited` beyond the limit. Those under way count as refused until they have ended, so that
        guesses at once do not slip through.
        """
        subject = rate_limit_address(address)
        left = await self._limits.refusals_left(address)
        if left.remaining <= self._asking[subject]:
            raise left.refusal()
        self._asking[subject] += 1

        async def refused() -> None:
            await self._limits.hit_refusal(address)

        try:
            yield refused
        finally:
            self._asking[subject] -= 1
            if not self._asking[subject]:
                del self._asking[subject]

    @asynccontextmanager
    async def asking_in_turn(self, address: str) -> AsyncIterator[Refused]:
        """Do as `asking`, after waiting for one of the address's turns.

        Many good keys at once, as after a start of the gateway, so never count as refused all together. Raises Transient too,
        when `WAITING_MAX` wait already or no turn comes within `WAIT_SECONDS`.
        """
        async with self._turn(rate_limit_address(address)), self.asking(address) as refused:
            yield refused

    @asynccontextmanager
    async def _turn(self, subject: str) -> AsyncIterator[None]:
        turns = self._turns.setdefault(subject, _Turns())
        if turns.present >= AT_ONCE + WAITING_MAX:
            raise _too_many()
        turns.present += 1
        try:
            await _taken(turns.places)
            try:
                yield
            finally:
                turns.places.release()
        finally:
            turns.present -= 1
            if not turns.present:
                del self._turns[subject]


async def _taken(places: asyncio.Semaphore) -> None:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await places.acquire()
    except TimeoutError as error:
        raise _too_many() from error


def _too_many() -> Transient:
    return Transient("too many unknown keys of one address wait", retry_after=2.0)
