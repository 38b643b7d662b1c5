"""API keys at the edge: each is exchanged for a short user token, which is kept while it is good."""

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

from common.auth.service_tokens import refused
from common.errors import Problem
from gateway.security.revocations import Revocation

MARK = "cpk_"
MAX_CACHED = 10_000
RENEW_BEFORE_S = 20.0
REFUSED_FOR_S = 60.0
"""A key that was refused never becomes good: whoever goes on sending it is not asked about for this long."""
KEY_REFUSED = "invalid_api_key"
_FORM = re.compile(r"cpk_[A-Za-z0-9_-]{8,250}")


@dataclass(frozen=True, slots=True)
class ExchangedKey:
    """What accounts gave for a key: the user token, its seconds to live, and the key's id."""

    access_token: str = field(repr=False)
    expires_in: float
    api_key_id: UUID


@dataclass(frozen=True, slots=True)
class _Cached:
    access_token: str = field(repr=False)
    api_key_id: UUID
    renew_at: float


Exchange = Callable[[str, Mapping[str, str]], Awaitable[ExchangedKey]]


def looks_like_api_key(token: str) -> bool:
    """Tell whether a bearer token is an API key rather than a JWT."""
    return token.startswith(MARK)


class ApiKeyTokens:
    """Gives the user token of an API key; one exchange at a time per key, the key itself is never kept.

    `exchange` asks accounts; it raises 401 `invalid_api_key`, or Transient when accounts does not say whether the key is good.
    """

    def __init__(
        self, exchange: Exchange, *, max_cached: int = MAX_CACHED, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._exchange = exchange
        self._max_cached = max_cached
        self._clock = clock
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[str]] = {}

    def knows(self, key: str) -> bool:
        """Return whether it is known what accounts would say: the key was good here, or was just refused, or is no key."""
        digest = sha256(key.encode()).digest()
        return digest in self._cache or self._was_refused(digest) or _FORM.fullmatch(key) is None

    async def token_of(self, key: str, headers: Mapping[str, str]) -> str:
        """Return a user token with the key's rights, good for at least 20 s.

        `headers` tell accounts who asks. Raises Problem 401 `invalid_api_key`, or Transient when accounts does not say.
        """
        if _FORM.fullmatch(key) is None:
            raise invalid_api_key()
        digest = sha256(key.encode()).digest()
        if self._was_refused(digest):
            raise invalid_api_key()
        cached = self._cache.get(digest)
        if cached is not None and self._clock() < cached.renew_at:
            self._cache.move_to_end(digest)
            return cached.access_token
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._renew(digest, key, dict(headers)), name="api-key-exchange")
            self._under_way[digest] = task
            task.add_done_callback(lambda done: self._finished(digest, done))
        return await asyncio.shield(task)

    def forget(self, revocation: Revocation) -> None:
        """Drop the tokens of a revoked key."""
        if revocation.kind == "api_key":
            for digest in [digest for digest, entry in self._cache.items() if entry.api_key_id == revocation.id]:
                del self._cache[digest]

    def _was_refused(self, digest: bytes) -> bool:
        return self._clock() < self._refused.get(digest, -math.inf)

    async def _renew(self, digest: bytes, key: str, headers: Mapping[str, str]) -> str:
        asked_at = self._clock()
        try:
            exchanged = await self._exchange(key, headers)
        except Problem as problem:
            if problem.code == KEY_REFUSED:
                self._note_refused(digest)
            raise
        renew_at = asked_at + exchanged.expires_in - RENEW_BEFORE_S
        self._cache[digest] = _Cached(exchanged.access_token, exchanged.api_key_id, renew_at)
        while len(self._cache) > self._max_cached:
            self._cache.popitem(last=False)
        return exchanged.access_token

    def _note_refused(self, digest: bytes) -> None:
        self._cache.pop(digest, None)
        self._refused[digest] = self._clock() + REFUSED_FOR_S
        self._refused.move_to_end(digest)
        while len(self._refused) > self._max_cached:
            self._refused.popitem(last=False)

    def _finished(self, digest: bytes, task: "asyncio.Task[str]") -> None:
        self._under_way.pop(digest, None)
        if not task.cancelled():
            task.exception()


def invalid_api_key() -> Problem:
    """Return the 401 for a key that is malformed, unknown, expired or revoked."""
    return refused(KEY_REFUSED, "The API key is not valid.")
