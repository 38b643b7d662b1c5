"""Sessions and the refresh tokens of their family."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.user import RefreshToken
from accounts.storage.tables import refresh_tokens, sessions


async def insert_session(
    connection: AsyncConnection, *, session_id: UUID, user_id: UUID, token_hash: bytes, life: timedelta
) -> datetime:
    """Open a session with its first refresh token; returns when it ends unless it is refreshed."""
    statement = insert(sessions).values(id=session_id, user_id=user_id, expires_at=func.now() + life)
    expires_at: datetime = (await connection.execute(statement.returning(sessions.c.expires_at))).scalar_one()
    await _insert_token(connection, session_id, token_hash, expires_at)
    return expires_at


async def lock_refresh_token(connection: AsyncConnection, token_hash: bytes) -> RefreshToken | None:
    """Return the token and lock it with its session, so that of two uses at once the second sees the first."""
    statement = (
        select(
            sessions.c.id,
            sessions.c.user_id,
            refresh_tokens.c.used_at.is_not(None),
            refresh_tokens.c.expires_at <= func.now(),
            (sessions.c.revoked_at.is_not(None)) | (sessions.c.expires_at <= func.now()),
        )
        .join_from(refresh_tokens, sessions, refresh_tokens.c.session_id == sessions.c.id)
        .where(refresh_tokens.c.token_hash == token_hash)
        .with_for_update()
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else RefreshToken(*row)


async def rotate_refresh_token(
    connection: AsyncConnection, session_id: UUID, *, used_hash: bytes, new_hash: bytes, life: timedelta
) -> datetime:
    """Mark the old token used, add the new one and prolong the session; returns when it now ends."""
    used = update(refresh_tokens).where(refresh_tokens.c.token_hash == used_hash).values(used_at=func.now())
    await connection.execute(used)
    prolonged = update(sessions).where(sessions.c.id == session_id).values(expires_at=func.now() + life)
    expires_at: datetime = (await connection.execute(prolonged.returning(sessions.c.expires_at))).scalar_one()
    await _insert_token(connection, session_id, new_hash, expires_at)
    return expires_at


async def revoke_session(
    connection: AsyncConnection, session_id: UUID, *, reason: str, token_life: timedelta
) -> datetime | None:
    """End a session; returns when its last access token ends, None when the session was over already."""
    statement = (
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=func.now(), revoke_reason=reason, tokens_expire_at=func.now() + token_life)
        .returning(sessions.c.tokens_expire_at)
    )
    tokens_expire_at: datetime | None = (await connection.execute(statement)).scalar_one_or_none()
    return tokens_expire_at


async def is_session_live(connection: AsyncConnection, session_id: UUID) -> bool:
    """Return whether the session exists and was not revoked."""
    statement = select(sessions.c.id).where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
    return await connection.scalar(statement) is not None


async def _insert_token(connection: AsyncConnection, session_id: UUID, token_hash: bytes, expires_at: datetime) -> None:
    statement = insert(refresh_tokens).values(token_hash=token_hash, session_id=session_id, expires_at=expires_at)
    await connection.execute(statement)
