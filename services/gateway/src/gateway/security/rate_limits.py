"""Rate limits: a sliding window per user, and per address where there is no user yet."""

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import UUID

import limits
import structlog
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from pydantic import SecretStr

from common.errors import Problem
from gateway.domain.client_address import rate_limit_address
from gateway.metrics import RATE_LIMITS_SHARED
from gateway.security.limit_store import own_store, shared_store

ASK_AGAIN_S = 2.0
"""After a failure of the shared store: meanwhile nobody waits for it."""

Work = Callable[..., Awaitable["Allowance"]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after a request: requests per window, requests left now, seconds until more are."""

    limit: int
    remaining: int
    reset_seconds: int
    allowed: bool

    @property
    def headers(self) -> dict[str, str]:
        """The `RateLimit` headers."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }

    def refusal(self) -> Problem:
        """Return the 429 for a request beyond the limit, with the headers."""
        return Problem(
            429,
            "rate_limited",
            f"More than {self.limit} requests came within the window.",
            hint=f"Try again in {max(1, self.reset_seconds)} seconds.",
            headers=self.headers | {"Retry-After": str(max(1, self.reset_seconds))},
        )


class RateLimits:
    """A component that counts requests; replicas share the counts when RATE_LIMIT_STORAGE names a shared store.

    While that store fails, each replica counts by itself: requests pass, and are still limited.
    """

    def __init__(
        self, *, per_user: str, per_address: str, storage: SecretStr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = shared_store(storage)
        self._shared = None if self._store is None else SlidingWindowCounterRateLimiter(self._store.storage)
        self._own = SlidingWindowCounterRateLimiter(own_store())
        self._per_user = limits.parse_many(per_user)
        self._per_address = limits.parse_many(per_address)
        self._clock = clock
        self._ask_again_at = -math.inf
        self._failing = False

    async def start(self) -> None:
        """Do nothing: the store is reached with the first request."""
        RATE_LIMITS_SHARED.set(1)

    async def stop(self) -> None:
        """Close the connections to the store."""
        if self._store is not None:
            await self._store.close()

    async def hit_user(self, user_id: UUID) -> Allowance:
        """Count a request of a user."""
        return await self._hit(self._per_user, "user", str(user_id))

    async def hit_address(self, address: str) -> Allowance:
        """Count a request of an address (of an IPv6 one: its /64)."""
        return await self._hit(self._per_address, "address", rate_limit_address(address))

    async def hit_refusal(self, address: str) -> Allowance:
        """Count something that was refused to an address; apart from its requests."""
        return await self._hit(self._per_address, "refusals", rate_limit_address(address))

    async def refusals_left(self, address: str) -> Allowance:
        """Return how many refusals an address has left; counts nothing."""
        return await self._on_store(_look_at_all, self._per_address, "refusals", rate_limit_address(address))

    async def _hit(self, items: list[limits.RateLimitItem], *identifiers: str) -> Allowance:
        return await self._on_store(_count_all, items, *identifiers)

    async def _on_store(self, work: Work, items: list[limits.RateLimitItem], *identifiers: str) -> Allowance:
        if self._shared is not None and self._clock() >= self._ask_again_at:
            try:
                allowance = await work(self._shared, items, *identifiers)
            except StorageError as error:
                self._failed(error)
            else:
                self._worked()
                return allowance
        return await work(self._own, items, *identifiers)

    def _failed(self, error: StorageError) -> None:
        self._ask_again_at = self._clock() + ASK_AGAIN_S
        if not self._failing:
            # Its text may hold the address, with a password.
            _log.error("rate_limit_store_failed", reason=type(error.storage_error).__name__)
        self._failing = True
        RATE_LIMITS_SHARED.set(0)

    def _worked(self) -> None:
        if self._failing:
            _log.info("rate_limit_store_is_back")
        self._failing = False
        RATE_LIMITS_SHARED.set(1)


async def _count_all(
    limiter: SlidingWindowCounterRateLimiter, items: list[limits.RateLimitItem], *identifiers: str
) -> Allowance:
    allowances = [await _count(limiter, item, *identifiers) for item in items]
    return min(allowances, key=lambda one: (one.allowed, one.remaining))


async def _look_at_all(
    limiter: SlidingWindowCounterRateLimiter, items: list[limits.RateLimitItem], *identifiers: str
) -> Allowance:
    return min([await _look(limiter, item, *identifiers) for item in items], key=lambda one: one.remaining)


async def _count(limiter: SlidingWindowCounterRateLimiter, item: limits.RateLimitItem, *identifiers: str) -> Allowance:
    allowed = await limiter.hit(item, *identifiers)
    seen = await _look(limiter, item, *identifiers)
    return replace(seen, remaining=seen.remaining if allowed else 0, allowed=allowed)


async def _look(limiter: SlidingWindowCounterRateLimiter, item: limits.RateLimitItem, *identifiers: str) -> Allowance:
    stats = await limiter.get_window_stats(item, *identifiers)
    reset = max(0, math.ceil(stats.reset_time - time.time()))
    return Allowance(item.amount, stats.remaining, reset, stats.remaining > 0)
