"""Valid access tokens of TikTok accounts for the services that call TikTok.

Handing one out is a read. When little life is left, or TikTok refused the token, the pair is refreshed first: one refresh at a
time per account, in this process by joining the one under way, among replicas by a lease on the row. No transaction is open
during the call. The new pair is committed before anyone uses it.
"""

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic import SecretStr

from accounts.clients.tiktok_problems import call_problem, tiktok_away
from accounts.domain.account import AccountStatus
from accounts.security.opaque import hex_digest
from accounts.security.vault import Vault
from accounts.storage.account_tokens import StoredPair, find_pair
from accounts.token_refresher import RefreshPending, TokenRefresher
from accounts.usecases.account_problems import account_expired, account_not_found
from common.database import Database
from common.errors import Problem
from tiktok.errors import TikTokError, TikTokUnavailable

STILL_USABLE_SECONDS = 30.0
"""A token with less life left is not handed out: it would end under the caller."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token to call TikTok with, and what it allows."""

    token: SecretStr = field(repr=False)
    expires_at: datetime
    scopes: tuple[str, ...]
    open_id: str
    username: str
    status: AccountStatus


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits for a refresh, in seconds: with a token that still works, and without one."""

    with_fallback: float = 2.0
    without: float = 8.0


class AccessTokens:
    """Hands out access tokens."""

    def __init__(
        self, database: Database, vault: Vault, refresher: TokenRefresher, *, patience: Patience | None = None
    ) -> None:
        self._database = database
        self._vault = vault
        self._refresher = refresher
        self._patience = patience or Patience()

    async def get(self, account_id: UUID, *, rejected_sha256: str | None = None, under_way: bool = False) -> AccessToken:
        """Return a token that TikTok should accept; `rejected_sha256` names one that it just refused (hex SHA-256).

        `under_way` asks for work that began before the account was disconnected: its token stays until the grant is revoked.
        Raises Problem 404 `account_not_found`, 409 `account_expired`, and when a new token is needed and TikTok does not give one,
        503 `tiktok_unavailable` or `tiktok_rate_limit_exceeded`, whose `Retry-After` is what is left of the wait.
        """
        pair = await self._current(account_id, under_way)
        token = self._answer(pair)
        rejected = rejected_sha256 is not None and hmac.compare_digest(hex_digest(token.token), rejected_sha256.lower())
        if not rejected and not pair.refresh_due:
            return token
        usable = not rejected and pair.seconds_left > STILL_USABLE_SECONDS
        return await self._refreshed(pair, token if usable else None, under_way)

    async def _refreshed(self, pair: StoredPair, fallback: AccessToken | None, under_way: bool) -> AccessToken:
        problem = tiktok_away(status=503)
        if fallback is None or not self._refresher.failed_recently(pair.account_id):
            patience = self._patience.without if fallback is None else self._patience.with_fallback
            try:
                await self._refresher.refresh(pair, patience=patience)
            except RefreshPending:
                problem = tiktok_away(status=503, detail="A new access token is still on its way from TikTok.")
            except TikTokError as error:
                problem = _refresh_problem(error)
        current = await self._current(pair.account_id, under_way)
        if current.pair_id != pair.pair_id:
            return self._answer(current)
        if fallback is not None:
            return fallback
        raise problem

    async def _current(self, account_id: UUID, under_way: bool) -> StoredPair:
        async with self._database.read() as connection:
            pair = await find_pair(connection, account_id)
        if pair is None or (pair.disconnected and not under_way):
            raise account_not_found()
        if pair.status is AccountStatus.EXPIRED:
            raise account_expired()
        return pair

    def _answer(self, pair: StoredPair) -> AccessToken:
        return AccessToken(
            token=self._vault.open(pair.access_token),
            expires_at=pair.expires_at,
            scopes=pair.scopes,
            open_id=pair.open_id,
            username=pair.username,
            status=pair.status,
        )


def _refresh_problem(error: TikTokError) -> Problem:
    if isinstance(error, TikTokUnavailable):
        return tiktok_away(status=503)
    return call_problem(error, configuration_hint=True)
