"""What was revoked: sessions and API keys in one list by time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import api_keys, sessions

OVERLAP = timedelta(seconds=30)
"""Longer than any transaction lives: a revocation is stamped when its transaction begins and seen when it has ended."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked session or API key; refused by its id until its last token has ended."""

    kind: str
    id: UUID
    revoked_at: datetime
    tokens_expire_at: datetime


async def revocations_since(
    connection: AsyncConnection, since: datetime, *, after: UUID | None = None, key_token_life: timedelta, limit: int
) -> list[Revocation]:
    """Return up to `limit` revocations from `since` on whose tokens may still be alive, oldest first.

    Of those at `since` itself, with `after` only those whose ids are greater: any number may be revoked at one moment.
    """
    of_sessions = select(
        literal("session").label("kind"), sessions.c.id, sessions.c.revoked_at, sessions.c.tokens_expire_at
    ).where(sessions.c.tokens_expire_at > func.now())
    of_keys = select(
        literal("api_key").label("kind"),
        api_keys.c.id,
        api_keys.c.revoked_at,
        (api_keys.c.revoked_at + key_token_life).label("tokens_expire_at"),
    ).where(api_keys.c.revoked_at > func.now() - key_token_life)

    def some(wanted: Select[Any]) -> Select[Any]:
        """Return the first of one kind: whatever there is beyond them is not looked at."""
        found, key_id = wanted.selected_columns.revoked_at, wanted.selected_columns.id
        wanted = wanted.where(found >= since).order_by(found, key_id).limit(limit)
        return select((wanted if after is None else wanted.where(or_(found > since, key_id > after))).subquery())

    both = union_all(some(of_sessions), some(of_keys)).subquery()
    statement = select(both).order_by(both.c.revoked_at, both.c.id).limit(limit)
    return [Revocation(*row) for row in await connection.execute(statement)]


async def safe_horizon(connection: AsyncConnection) -> datetime:
    """Return the time up to which every revocation is visible by now."""
    horizon: datetime = (await connection.execute(select(func.now() - OVERLAP))).scalar_one()
    return horizon
