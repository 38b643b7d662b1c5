"""What the gateway asks accounts for itself, with its own token: keys, revocations, the exchange of API keys."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.auth.jwks import JWKS_PATH
from common.clock import rfc3339
from common.errors import Problem, Transient
from common.http.client import ServiceClient, ServiceFailure
from gateway.security.api_keys import KEY_REFUSED, ExchangedKey
from gateway.security.revocations import Revocation

EXCHANGE_TIMEOUT_S = 5.0
REVOCATIONS_TIMEOUT_S = 2.0
MAX_PAGES = 100
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
    has_more: bool = False


_EXCHANGED = TypeAdapter(_Exchanged)
_PAGE = TypeAdapter(_RevokedPage)


class AccountsClient:
    """Remembers up to where revocations were read, and the key set for a minute."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._since: datetime | None = None
        self._jwks: tuple[float, httpx.Response] | None = None
        self._jwks_lock = asyncio.Lock()

    async def exchange_api_key(self, key: str, headers: Mapping[str, str]) -> ExchangedKey:
        """Return the user token of an API key; raises the `Problem` 401 `invalid_api_key`, or Transient.

        Any other refusal is of the gateway's own token or request, and says nothing of the key.
        """
        try:
            answer = await self._client.post(
                "/internal/api-keys/exchange", json={"key": key}, headers=headers, timeout=EXCHANGE_TIMEOUT_S
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

    async def read_revocations(self) -> list[Revocation]:
        """Return what was revoked since the last reading (the first time: all that still matters); raises Transient.

        The mark moves only when everything was read.
        """
        since, found = self._since, list[Revocation]()
        for _ in range(MAX_PAGES):
            params = {"since": rfc3339(since)} if since is not None else None
            answer = await self._client.get("/internal/revocations", params=params, timeout=REVOCATIONS_TIMEOUT_S)
            try:
                page = _PAGE.validate_python(answer)
            except ValidationError:
                raise ServiceFailure("accounts answered something that is no list of revocations") from None
            found += [Revocation(item.kind, item.id, item.tokens_expire_at) for item in page.items]
            since = page.next_since
            if not page.has_more:
                self._since = since
                return found
        raise Transient(f"more than {MAX_PAGES} pages of revocations")

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
