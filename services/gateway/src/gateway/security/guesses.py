"""Unknown keys and attempts to connect: an address that is refused again and again is not passed on to accounts any more.

Without this, whoever makes up keys has accounts look up each of them, at no cost to themselves.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.domain.client_address import rate_limit_address
from gateway.security.rate_limits import RateLimits

Refused = Callable[[], Awaitable[None]]


class Guesses:
    """Counts refusals per address, against the limit of addresses but apart from logins."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._asking: Counter[str] = Counter()

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
