"""Rate limits: a sliding window per user, and per address where there is no user yet."""

import math
import time
from dataclasses import dataclass
from uuid import UUID

import limits
import structlog
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string
from pydantic import SecretStr

from common.errors import Problem
from gateway.domain.client_address import rate_limit_address

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
        """Return the 429 for a request beyond the limit."""
        return Problem(
            429,
            "rate_limited",
            f"More than {self.limit} requests came within the window.",
            hint=f"Try again in {max(1, self.reset_seconds)} seconds.",
            headers={"Retry-After": str(max(1, self.reset_seconds))},
        )


def _storage(uri: SecretStr) -> Storage:
    text = uri.get_secret_value()
    text = text if text.startswith("async+") else f"async+{text}"
    storage = storage_from_string(text, wrap_exceptions=True)
    if not isinstance(storage, Storage):
        raise TypeError("RATE_LIMIT_STORAGE is not an asynchronous storage")
    return storage


class RateLimits:
    """Counts requests; replicas share the counts when RATE_LIMIT_STORAGE names a shared storage.

    A storage that fails lets requests pass and logs it: losing the limit is better than losing the service.
    """

    def __init__(self, *, per_user: str, per_address: str, storage: SecretStr) -> None:
        self._strategy = SlidingWindowCounterRateLimiter(_storage(storage))
        self._per_user = limits.parse_many(per_user)
        self._per_address = limits.parse_many(per_address)

    async def hit_user(self, user_id: UUID) -> Allowance | None:
        """Count a request of a user; None when the storage fails."""
        return await self._hit(self._per_user, "user", str(user_id))

    async def hit_address(self, address: str) -> Allowance | None:
        """Count a request of an address (of an IPv6 one: its /64); None when the storage fails."""
        return await self._hit(self._per_address, "address", rate_limit_address(address))

    async def _hit(self, items: list[limits.RateLimitItem], *identifiers: str) -> Allowance | None:
        try:
            allowances = [await self._count(item, *identifiers) for item in items]
        except StorageError as error:
            _log.exception("rate_limit_storage_failed", reason=type(error.storage_error).__name__)
            return None
        return min(allowances, key=lambda one: (one.allowed, one.remaining))

    async def _count(self, item: limits.RateLimitItem, *identifiers: str) -> Allowance:
        allowed = await self._strategy.hit(item, *identifiers)
        stats = await self._strategy.get_window_stats(item, *identifiers)
        reset = max(0, math.ceil(stats.reset_time - time.time()))
        return Allowance(item.amount, stats.remaining if allowed else 0, reset, allowed)
