"""Removal of what has outlived its use, in batches that hold locks for milliseconds."""

from datetime import timedelta

from sqlalchemy import ColumnElement, Table, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.throttle import FORGET_AFTER
from accounts.storage.api_keys import USE_TOLD_EVERY
from accounts.storage.tables import (
    api_key_addresses,
    api_keys,
    encryption_key_holders,
    grant_revocations,
    login_throttles,
    oauth_states,
    refresh_tokens,
    sessions,
    signing_keys,
    tiktok_call_pace,
)

BATCH = 1_000
SESSIONS_KEPT = timedelta(days=7)
SIGNING_KEYS_KEPT = timedelta(days=1)
"""After their retirement: nothing verifies with them any more."""

API_KEYS_KEPT = timedelta(days=90)
"""After they were revoked or expired."""

REVOCATIONS_KEPT = timedelta(days=7)
HOLDERS_KEPT = timedelta(hours=1)
BOOKINGS_KEPT = timedelta(hours=1)


def _outlived() -> tuple[tuple[Table, ColumnElement[bool]], ...]:
    # A used refresh token is known as long as its session can be refreshed, however old it is: sent again, it ends the session.
    return (
        (oauth_states, oauth_states.c.expires_at < func.now()),
        (login_throttles, login_throttles.c.last_failed_at < func.now() - FORGET_AFTER),
        (refresh_tokens, and_(refresh_tokens.c.used_at.is_(None), refresh_tokens.c.expires_at < func.now())),
        (refresh_tokens, refresh_tokens.c.session_id.in_(select(sessions.c.id).where(sessions.c.expires_at < func.now()))),
        (sessions, sessions.c.expires_at < func.now() - SESSIONS_KEPT),
        (signing_keys, signing_keys.c.retired_at < func.now() - SIGNING_KEYS_KEPT),
        (encryption_key_holders, encryption_key_holders.c.seen_at < func.now() - HOLDERS_KEPT),
        (grant_revocations, grant_revocations.c.finished_at < func.now() - REVOCATIONS_KEPT),
        (tiktok_call_pace, tiktok_call_pace.c.booked_until < func.now() - BOOKINGS_KEPT),
        (api_key_addresses, api_key_addresses.c.told_at < func.now() - USE_TOLD_EVERY),
        (api_keys, and_(api_keys.c.revoked_at.is_not(None), api_keys.c.revoked_at < func.now() - API_KEYS_KEPT)),
        (api_keys, api_keys.c.expires_at < func.now() - API_KEYS_KEPT),
    )


async def remove_outlived(connection: AsyncConnection, *, batch: int = BATCH) -> tuple[int, bool]:
    """Remove up to `batch` rows of each table; returns how many, and whether some table may hold more."""
    removed, more = 0, False
    for table, outlived in _outlived():
        key = next(iter(table.primary_key.columns))
        old = select(key).where(outlived).limit(batch).with_for_update(skip_locked=True)
        count = (await connection.execute(delete(table).where(key.in_(old)))).rowcount
        removed, more = removed + count, more or count == batch
    return removed, more
