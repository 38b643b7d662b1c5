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
from common.http.identity import CLIENT_IP_HEADER
from gateway.domain.client_address import rate_limit_address
from gateway.security.revocations import Revocation

MARK = "cpk_"
MAX_CACHED = 10_000
RENEW_BEFORE_S = 20.0
REFUSED_FOR_S = 60.0
"""A key that was refused never becomes good: whoever goes on sending it is not asked about for this long."""
MAX_ADDRESSES = 20
"""Of one key at a time, each with a token of its own."""
MANY = "many"
"""The place of what comes from more addresses than that."""
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
    renew_at: float


@dataclass(slots=True)
class _Known:
    """A key that was good: a token for each place it is used from."""

    api_key_id: UUID
    tokens: dict[str, _Cached] = field(default_factory=dict)


Exchange = Callable[[str, Mapping[str, str], bool], Awaitable[ExchangedKey]]


def looks_like_api_key(token: str) -> bool:
    """Tell whether a bearer token is an API key rather than a JWT."""
    return token.startswith(MARK)


class ApiKeyTokens:
    """Gives the user token of an API key; one exchange at a time per key and address, the key itself is never kept.

    Accounts hears of each address that a key is used from, because each has a token of its own (an IPv6 address with its whole
    /64). What comes from more than `MAX_ADDRESSES` at a time shares one, and accounts hears that there are many.

    `exchange` asks accounts; it raises 401 `invalid_api_key`, or Transient when accounts does not say whether the key is good.
    """

    def __init__(
        self, exchange: Exchange, *, max_cached: int = MAX_CACHED, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._exchange = exchange
        self._max_cached = max_cached
        self._clock = clock
        self._cache: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: dict[bytes, dict[str, asyncio.Task[str]]] = {}

    def knows(self, key: str, address: str) -> bool:
        """Return whether a use from `address` asks accounts about no key that is new here.

        It was good here, or was just refused, or is no key, or is being asked about from there already.
        """
        digest = sha256(key.encode()).digest()
        if digest in self._cache or self._was_refused(digest) or _FORM.fullmatch(key) is None:
            return True
        return self._place(digest, rate_limit_address(address)) in self._under_way.get(digest, ())

    async def token_of(self, key: str, headers: Mapping[str, str]) -> str:
        """Return a user token with the key's rights, good for at least 20 s.

        `headers` tell accounts who asks, and from where. Raises Problem 401 `invalid_api_key`, or Transient when accounts does
        not say, also for a key that is known from elsewhere.
        """
        if _FORM.fullmatch(key) is None:
            raise invalid_api_key()
        digest = sha256(key.encode()).digest()
        if self._was_refused(digest):
            raise invalid_api_key()
        place = self._place(digest, rate_limit_address(headers.get(CLIENT_IP_HEADER, "")))
        known = self._cache.get(digest)
        if known is not None and place in known.tokens:
            self._cache.move_to_end(digest)
            return known.tokens[place].access_token
        under_way = self._under_way.setdefault(digest, {})
        task = under_way.get(place)
        if task is None:
            task = asyncio.create_task(self._renew(digest, place, key, dict(headers)), name="api-key-exchange")
            under_way[place] = task
            task.add_done_callback(lambda done: self._finished(digest, place, done))
        return await asyncio.shield(task)

    def drop(self, key: str, token: str) -> None:
        """Forget a token of the key that is no longer good: the next use asks for another."""
        known = self._cache.get(sha256(key.encode()).digest())
        if known is not None:
            known.tokens = {place: cached for place, cached in known.tokens.items() if cached.access_token != token}

    def forget(self, revocation: Revocation) -> None:
        """Drop the tokens of a revoked key."""
        if revocation.kind == "api_key":
            for digest in [digest for digest, entry in self._cache.items() if entry.api_key_id == revocation.id]:
                del self._cache[digest]

    def _place(self, digest: bytes, address: str) -> str:
        """Return which token is for a use from an address; those of the key that are over are dropped."""
        places = set(self._under_way.get(digest, ()))
        if (known := self._cache.get(digest)) is not None:
            now = self._clock()
            known.tokens = {place: cached for place, cached in known.tokens.items() if now < cached.renew_at}
            places |= known.tokens.keys()
        return address if address in places or len(places - {MANY}) < MAX_ADDRESSES else MANY

    def _was_refused(self, digest: bytes) -> bool:
        return self._clock() < self._refused.get(digest, -math.inf)

    async def _renew(self, digest: bytes, place: str, key: str, headers: Mapping[str, str]) -> str:
        asked_at = self._clock()
        try:
            exchanged = await self._exchange(key, headers, place == MANY)
        except Problem as problem:
            if problem.code == KEY_REFUSED:
                self._note_refused(digest)
            raise
        renew_at = asked_at + exchanged.expires_in - RENEW_BEFORE_S
        known = self._cache.setdefault(digest, _Known(exchanged.api_key_id))
        known.tokens[place] = _Cached(exchanged.access_token, renew_at)
        self._cache.move_to_end(digest)
        while len(self._cache) > self._max_cached:
            self._cache.popitem(last=False)
        return exchanged.access_token

    def _note_refused(self, digest: bytes) -> None:
        self._cache.pop(digest, None)
        self._refused[digest] = self._clock() + REFUSED_FOR_S
        self._refused.move_to_end(digest)
        while len(self._refused) > self._max_cached:
            self._refused.popitem(last=False)

    def _finished(self, digest: bytes, place: str, task: "asyncio.Task[str]") -> None:
        under_way = self._under_way[digest]
        del under_way[place]
        if not under_way:
            del self._under_way[digest]
        if not task.cancelled():
            task.exception()


def invalid_api_key() -> Problem:
    """Return the 401 for a key that is malformed, unknown, expired or revoked."""
    return refused(KEY_REFUSED, "The API key is not valid.")
