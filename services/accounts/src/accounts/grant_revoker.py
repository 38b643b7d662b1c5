"""Ending a grant at TikTok, so that it is known to be over.

The revoke call needs an access token that still works, so one that has lapsed is refreshed first. A refused token proves nothing
by itself (it may merely have lapsed); a refused refresh token does: the grant is gone already, which is as good.
"""

import asyncio
from enum import StrEnum
from uuid import UUID

from accounts.security.vault import Vault
from accounts.storage.account_tokens import StoredPair, find_pair
from accounts.token_refresher import RefreshPending, TokenRefresher
from common.database import Database
from tiktok.errors import TikTokError, TikTokRefused, TikTokUnavailable, TokenInvalid
from tiktok.oauth import OAuthClient

CALL_SECONDS = 8.0
REFRESH_SECONDS = 10.0
WHOLE_SECONDS = 30.0
"""Less than a step of a due loop may take."""
LIFE_NEEDED_SECONDS = 30.0
APP_REFUSED = frozenset({"invalid_client", "unauthorized_client"})
"""Refusals of this app, not of the token: its settings at TikTok are wrong, and may be put right."""


class Outcome(StrEnum):
    """How a grant ended."""

    REVOKED = "revoked"
    ALREADY_GONE = "already_gone"
    GIVEN_UP = "given_up"


class GrantRevoker:
    """Revokes grants of disconnected accounts."""

    def __init__(self, database: Database, vault: Vault, oauth: OAuthClient, refresher: TokenRefresher) -> None:
        self._database = database
        self._vault = vault
        self._oauth = oauth
        self._refresher = refresher

    async def revoke(self, account_id: UUID) -> Outcome:
        """Revoke the account's grant, within 30 s; repeating it is harmless.

        Raises a TikTokError when it is not known to be over: try again later.
        """
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                return await self._revoke(account_id)
        except TimeoutError as error:
            raise TikTokUnavailable("no_answer", sent=True) from error

    async def _revoke(self, account_id: UUID) -> Outcome:
        pair = await self._pair(account_id)
        if pair is None:
            return Outcome.ALREADY_GONE
        if pair.seconds_left > LIFE_NEEDED_SECONDS and await self._revoked(pair):
            return Outcome.REVOKED
        fresh = await self._refreshed(pair)
        if fresh is None:
            return Outcome.ALREADY_GONE
        if await self._revoked(fresh):
            return Outcome.REVOKED
        raise TikTokUnavailable("fresh_token_refused", sent=True)

    async def _revoked(self, pair: StoredPair) -> bool:
        """Call TikTok; False when it refused the token."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._oauth.revoke(self._vault.open(pair.access_token))
        except (TokenInvalid, TikTokRefused) as error:
            # What TikTok has no code for may be a page of something in between.
            if error.code in APP_REFUSED or not error.failure.known:
                raise
            return False
        return True

    async def _refreshed(self, pair: StoredPair) -> StoredPair | None:
        """Return the pair that a refresh brought, None when TikTok refuses to renew the grant."""
        try:
            await self._refresher.refresh(pair, patience=REFRESH_SECONDS)
        except RefreshPending as error:
            raise TikTokUnavailable("refresh_pending", sent=True) from error
        current = await self._pair(pair.account_id)
        return None if current is None or current.pair_id == pair.pair_id else current

    async def _pair(self, account_id: UUID) -> StoredPair | None:
        async with self._database.read() as connection:
            return await find_pair(connection, account_id)


def error_code(error: TikTokError) -> str:
    """Return what is stored of a failed call."""
    return error.code[:100]
