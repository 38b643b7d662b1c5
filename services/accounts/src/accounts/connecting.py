"""The last step of connecting: the code is exchanged, the profile read, and the grant stored, or else ended.

All of it takes less time than the gateway waits (30 s), so that the browser gets the answer.
"""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from pydantic import SecretStr

from accounts.clients.tiktok_problems import exchange_problem, missing_scope, profile_problem, tiktok_away
from accounts.domain.account import Account
from accounts.domain.profile import Profile
from accounts.domain.scopes import missing_scopes
from accounts.parts import Parts
from accounts.security.token_sealing import seal_grant
from accounts.storage.held_grants import is_held
from accounts.storing import until_stored
from accounts.usecases.connect_account import Grant, connect_account
from accounts.usecases.finish_connecting import Connecting
from common.clock import utc_now
from common.contracts.context import Context
from common.database.failures import is_database_away, is_database_busy
from common.errors import Problem
from tiktok.errors import TikTokError
from tiktok.oauth import TokenGrant

TIKTOK_SECONDS = 18.0
"""For the exchange and the profile together."""
EXCHANGE_SECONDS = 12.0
STORE_SECONDS = 7.0
AGAIN_SECONDS = 5.0
"""Within these, storing is tried again."""
REVOKE_SECONDS = 4.0

log = structlog.get_logger(__name__)


async def connect(parts: Parts, origin: Context, connecting: Connecting, code: SecretStr) -> Account:
    """Exchange the code and store the account; returns it.

    Raises the Problem of why not: 400 `code_expired`, `missing_scope`, `profile_not_authorized`; 409
    `account_owned_by_another_user`, `account_disconnecting`; 502 `tiktok_unavailable`, `tiktok_refused`; 503
    `tiktok_rate_limit_exceeded`, `grant_not_stored`. What was granted and is not stored is ended at TikTok, as far as that can be.
    """
    asked_at, ends_at = utc_now(), asyncio.get_running_loop().time() + TIKTOK_SECONDS
    tokens = await _exchanged(parts, connecting, code)
    try:
        profile = await _profile(parts, tokens, ends_at)
        account = await _stored(parts, origin, connecting.user_id, _grant(parts, profile, tokens, asked_at))
    except Problem:
        await _revoke_refused(parts, tokens)
        raise
    except Exception as error:
        _note(error)
        await _revoke_refused(parts, tokens)
        raise not_stored() from error
    parts.creator_infos.forget(account.id)
    return account


def check_scopes(parts: Parts, granted: tuple[str, ...]) -> None:
    """Raise Problem 400 `missing_scope` unless posting has all that it needs."""
    missing = missing_scopes(granted, parts.settings.required_scopes)
    if missing:
        raise missing_scope(missing)


def not_stored() -> Problem:
    """Return 503 `grant_not_stored`."""
    return Problem(
        503,
        "grant_not_stored",
        "TikTok granted the access, but it could not be stored.",
        hint="Start connecting again in 10 seconds.",
        headers={"Retry-After": "10"},
    )


async def _exchanged(parts: Parts, connecting: Connecting, code: SecretStr) -> TokenGrant:
    try:
        async with asyncio.timeout(EXCHANGE_SECONDS):
            return await parts.oauth.exchange_code(
                code, redirect_uri=parts.settings.tiktok_redirect_uri, code_verifier=connecting.code_verifier
            )
    except TikTokError as error:
        log.warning("code_exchange_failed", code=error.code, log_id=error.log_id)
        raise exchange_problem(error) from error
    except TimeoutError as error:
        raise tiktok_away() from error


async def _profile(parts: Parts, tokens: TokenGrant, ends_at: float) -> Profile:
    check_scopes(parts, tokens.scopes)
    try:
        async with asyncio.timeout_at(ends_at):
            return await parts.profiles.read(tokens.access_token, tokens.scopes, open_id=tokens.open_id)
    except TikTokError as error:
        log.warning("profile_not_read", code=error.code, log_id=error.log_id)
        raise profile_problem(error, tokens.scopes) from error
    except TimeoutError as error:
        raise tiktok_away() from error


def _grant(parts: Parts, profile: Profile, tokens: TokenGrant, asked_at: datetime) -> Grant:
    ahead = timedelta(seconds=parts.settings.token_refresh_ahead_seconds)
    return Grant(profile, tokens.scopes, seal_grant(parts.vault, tokens, asked_at=asked_at, ahead=ahead))


async def _stored(parts: Parts, origin: Context, user_id: UUID, grant: Grant) -> Account:
    """Store the account with its grant, which nothing brings back: the code is used up."""
    async with asyncio.timeout(STORE_SECONDS):
        async for attempt in until_stored(AGAIN_SECONDS):
            with attempt:
                async with parts.database.transaction() as tx:
                    account = await connect_account(tx, parts.outbox, origin, user_id=user_id, grant=grant)
                    tx.after_commit(parts.refresh_planned)
    return account


def _note(error: Exception) -> None:
    passing = is_database_away(error) or is_database_busy(error)
    log.error("grant_not_stored", kind=type(error).__name__, exc_info=None if passing else error)


async def _revoke_refused(parts: Parts, tokens: TokenGrant) -> None:
    """End a grant that is not stored, lest TikTok lists the app as authorised; what goes wrong is logged.

    Not while tokens of this creator are stored: at TikTok both grants are one. Somebody who connects the same creator between
    the look and the call loses the grant and has to connect again.
    """
    try:
        async with asyncio.timeout(REVOKE_SECONDS):
            async with parts.database.read() as connection:
                held = await is_held(connection, tokens.open_id)
            if not held:
                await parts.oauth.revoke(tokens.access_token)
    except Exception as error:  # noqa: BLE001 - the refusal is what counts, and it is on its way to the user
        log.warning("refused_grant_not_revoked", kind=type(error).__name__)
    else:
        log.info("refused_grant_kept" if held else "refused_grant_revoked")
