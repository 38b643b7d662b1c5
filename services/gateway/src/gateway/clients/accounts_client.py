"""What the gateway asks accounts for itself, with its own token: keys, revocations, the exchange of API keys."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.auth.jwks import JWKS_PATH
from common.clock import rfc3339
from common.errors import Problem
from common.http.client import ServiceClient, ServiceFailure
from gateway.security.api_keys import KEY_REFUSED, ExchangedKey
from gateway.security.revocations import Revocation

EXCHANGE_TIMEOUT_S = 5.0
REVOCATIONS_TIMEOUT_S = 2.0
JWKS_KEPT_S = 60.0


class _Exchanged(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    access_token: str = Field(repr=False)
    expires_in: float
    api_key_id: UUID


class _Revoked(BaseModel):
    model_config = ConfigDict(extra="ignore")

    kind: Literal["session", "api_key"]
    id: UUID
    tokens_expire_at: AwareDatetime


class _RevokedPage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    items: list[_Revoked]
    next_since: AwareDatetime
    next_after: UUID | None = None
    settled_until: AwareDatetime | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Up to where revocations were read: all from before `since`, and those at it with ids up to `after`."""

    since: datetime
    after: UUID | None = None

    def as_query(self) -> dict[str, str]:
        asked = {"since": rfc3339(self.since)}
        return asked if self.after is None else asked | {"after": str(self.after)}


_EXCHANGED = TypeAdapter(_Exchanged)
_PAGE = TypeAdapter(_RevokedPage)


class AccountsClient:
    """Remembers up to where revocations were read, and the key set for a minute."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._read_to: _Place | None = None
        self._jwks: tuple[float, httpx.Response] | None = None
        self._jwks_lock = asyncio.Lock()

    async def exchange_api_key(self, key: str, headers: Mapping[str, str], many_addresses: bool) -> ExchangedKey:
        """Return the user token of an API key; raises the `Problem` 401 `invalid_api_key`, or Transient.

        With `many_addresses`, accounts tells that the key is used from many, and not only from the one in `headers`.

        Any other refusal is of the gateway's own token or request, and says nothing of the key.
        """
        body = {"key": key, "many_addresses": True} if many_addresses else {"key": key}
        try:
            answer = await self._client.post(
                "/internal/api-keys/exchange", json=body, headers=headers, timeout=EXCHANGE_TIMEOUT_S
            )
        except Problem as problem:
            if problem.code == KEY_REFUSED:
                raise
            raise ServiceFailure(f"accounts refused to exchange a key: {problem}", problem=problem) from problem
        try:
            found = _EXCHANGED.validate_python(answer)
        except ValidationError:
            raise ServiceFailure("accounts answered something that is no exchanged key") from None
        return ExchangedKey(found.access_token, found.expires_in, found.api_key_id)

    async def read_revocations(self) -> AsyncIterator[list[Revocation]]:
        """Yield, page after page, what was revoked since the last reading (the first time: all that still matters).

        Raises Transient. However many there are, it ends when all were read; a reading that did not end is taken up where it was.
        """
        place, is_settled = self._read_to, True
        while True:
            page = await self._page_from(place)
            yield [Revocation(item.kind, item.id, item.tokens_expire_at) for item in page.items]
            reached = _Place(page.next_since, page.next_after)
            if page.has_more and reached == place:
                raise ServiceFailure("accounts answered the same page of revocations again")
            if is_settled:
                # Beyond this moment some are still being committed: they are read the next time, from the first such moment on.
                settled = page.settled_until or page.next_since
                is_settled = page.next_since <= settled
                self._read_to = reached if is_settled else _later(self._read_to, settled)
            place = reached
            if not page.has_more:
                return

    async def _page_from(self, place: _Place | None) -> _RevokedPage:
        params = place.as_query() if place is not None else None
        answer = await self._client.get("/internal/revocations", params=params, timeout=REVOCATIONS_TIMEOUT_S)
        try:
            return _PAGE.validate_python(answer)
        except ValidationError:
            raise ServiceFailure("accounts answered something that is no list of revocations") from None

    async def jwks(self) -> httpx.Response:
        """Return accounts' answer with the public keys of user tokens; asked for at most once a minute. Raises Transient."""
        async with self._jwks_lock:
            now = time.monotonic()
            if self._jwks is not None and now < self._jwks[0]:
                return self._jwks[1]
            response = await self._client.send("GET", JWKS_PATH)
            if response.status_code != httpx.codes.OK:
                raise ServiceFailure("accounts answered no key set", status=response.status_code)
            self._jwks = (now + JWKS_KEPT_S, response)
            return response


def _later(place: _Place | None, moment: datetime) -> _Place:
    """Return the place of that moment, unless reading is further than that."""
    return place if place is not None and place.since >= moment else _Place(moment)
