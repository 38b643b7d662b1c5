"""Sessions and the refresh tokens of their family."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.user import REFRESHES_MAX, RefreshToken
from accounts.storage.tables import refresh_tokens, sessions

CLOCKS_DIFFER = timedelta(minutes=1)
"""Tokens are stamped by the replica's clock, rows by the database's."""
LIFE_UNKNOWN = timedelta(days=7)
"""For a session from before lives were stored: no setting ever allowed a longer one."""


async def insert_session(
    connection: AsyncConnection,
    *,
    session_id: UUID,
    user_id: UUID,
    token_hash: bytes,
    life: timedelta,
    token_life: timedelta,
) -> datetime:
    """Open a session with its first refresh token; returns when it ends unless it is refreshed.

    An access token that lives `token_life` is about to be issued for it.
    """
    statement = insert(sessions).values(
        id=session_id,
        user_id=user_id,
        expires_at=func.now() + life,
        tokens_expire_at=func.now() + token_life + CLOCKS_DIFFER,
    )
    expires_at: datetime = (await connection.execute(statement.returning(sessions.c.expires_at))).scalar_one()
    await _insert_token(connection, session_id, token_hash, expires_at)
    return expires_at


async def lock_refresh_token(connection: AsyncConnection, token_hash: bytes) -> RefreshToken | None:
    """Return the token and lock its session, so that of two uses at once the second sees the first."""
    owner = select(refresh_tokens.c.session_id).where(refresh_tokens.c.token_hash == token_hash).scalar_subquery()
    session = (
        await connection.execute(
            select(
                sessions.c.id,
                sessions.c.user_id,
                sessions.c.revoked_at.is_not(None).label("revoked"),
                or_(sessions.c.expires_at <= func.now(), sessions.c.refreshes >= REFRESHES_MAX).label("expired"),
            )
            .where(sessions.c.id == owner)
            .with_for_update()
        )
    ).one_or_none()
    if session is None:
        return None
    # Only now, with the lock held: what another use has just written is seen.
    family = refresh_tokens.alias()
    of_session = family.c.session_id == session.id
    statement = select(
        func.extract("epoch", func.clock_timestamp() - refresh_tokens.c.used_at),
        refresh_tokens.c.used_at == select(func.max(family.c.used_at)).where(of_session).scalar_subquery(),
        select(func.count()).select_from(family).where(of_session, family.c.used_at.is_(None)).scalar_subquery(),
        refresh_tokens.c.expires_at <= func.now(),
    ).where(refresh_tokens.c.token_hash == token_hash)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    since = None if row[0] is None else max(float(row[0]), 0.0)
    return RefreshToken(
        session.id,
        session.user_id,
        since,
        bool(row[1]),
        int(row[2]),
        expired=row[3],
        session_over=session.revoked or session.expired,
        session_revoked=session.revoked,
    )


async def rotate_refresh_token(
    connection: AsyncConnection,
    session_id: UUID,
    *,
    used_hash: bytes,
    new_hash: bytes,
    life: timedelta,
    token_life: timedelta,
) -> datetime:
    """Use up the old token with every other that was given in its place, add the new one; returns when the session now ends.

    The others count as used when they were made: sent again, they are old ones.
    """
    others = update(refresh_tokens).where(
        refresh_tokens.c.session_id == session_id,
        refresh_tokens.c.token_hash != used_hash,
        refresh_tokens.c.used_at.is_(None),
    )
    await connection.execute(others.values(used_at=refresh_tokens.c.created_at))
    used = update(refresh_tokens).where(refresh_tokens.c.token_hash == used_hash)
    await connection.execute(used.values(used_at=func.clock_timestamp()))
    return await add_refresh_token(connection, session_id, new_hash=new_hash, life=life, token_life=token_life)


async def add_refresh_token(
    connection: AsyncConnection, session_id: UUID, *, new_hash: bytes, life: timedelta, token_life: timedelta
) -> datetime:
    """Add a token and prolong the session; returns when it now ends. An access token that lives `token_life` is to follow."""
    prolonged = (
        update(sessions)
        .where(sessions.c.id == session_id)
        .values(expires_at=func.now() + life, tokens_expire_at=_tokens_end(token_life), refreshes=sessions.c.refreshes + 1)
    )
    expires_at: datetime = (await connection.execute(prolonged.returning(sessions.c.expires_at))).scalar_one()
    await _insert_token(connection, session_id, new_hash, expires_at)
    return expires_at


async def revoke_session(
    connection: AsyncConnection, session_id: UUID, *, reason: str, token_life: timedelta
) -> datetime | None:
    """End a session; returns when its last access token ends, None when the session was over already.

    Tokens may have been issued with a longer life than `token_life`, today's: the later end counts.
    """
    statement = (
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=func.now(), revoke_reason=reason, tokens_expire_at=_tokens_end(token_life))
        .returning(sessions.c.tokens_expire_at)
    )
    tokens_expire_at: datetime | None = (await connection.execute(statement)).scalar_one_or_none()
    return tokens_expire_at


async def revoke_sessions_of(
    connection: AsyncConnection, user_id: UUID, *, reason: str, token_life: timedelta
) -> dict[UUID, datetime]:
    """End all of a user's sessions that are not over; returns when the last access token of each ends, as `revoke_session` does."""
    last_use = func.greatest(sessions.c.expires_at, _known_tokens_end())
    statement = (
        update(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None), last_use > func.now())
        .values(revoked_at=func.now(), revoke_reason=reason, tokens_expire_at=_tokens_end(token_life))
        .returning(sessions.c.id, sessions.c.tokens_expire_at)
    )
    return {row.id: row.tokens_expire_at for row in await connection.execute(statement)}


async def last_token_end(connection: AsyncConnection) -> datetime | None:
    """Return when the last access token of any session ends, as far as known."""
    found: datetime | None = await connection.scalar(select(func.max(sessions.c.tokens_expire_at)))
    return found


async def is_session_live(connection: AsyncConnection, session_id: UUID) -> bool:
    """Return whether the session exists and was not revoked."""
    statement = select(sessions.c.id).where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
    return await connection.scalar(statement) is not None


async def _insert_token(connection: AsyncConnection, session_id: UUID, token_hash: bytes, expires_at: datetime) -> None:
    statement = insert(refresh_tokens).values(token_hash=token_hash, session_id=session_id, expires_at=expires_at)
    await connection.execute(statement)


def _tokens_end(token_life: timedelta) -> ColumnElement[datetime]:
    """Return when tokens of a session end: those it has, and one that is issued now."""
    return func.greatest(_known_tokens_end(), func.now() + token_life + CLOCKS_DIFFER)


def _known_tokens_end() -> ColumnElement[datetime]:
    return func.coalesce(sessions.c.tokens_expire_at, func.now() + LIFE_UNKNOWN)
