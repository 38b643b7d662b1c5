"""What was revoked: sessions and API keys in one list by time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Integer, Interval, Select, Uuid, bindparam, func, literal, or_, select, union_all
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


def _statement(*, within_a_moment: bool) -> Select[Any]:
    """Build the statement once: every gateway asks twice a second, and building it took most of an idle service's time."""
    since, limit = bindparam("since", type_=DateTime(timezone=True)), bindparam("most", type_=Integer)
    life = bindparam("key_token_life", type_=Interval)
    of_sessions = select(
        literal("session").label("kind"), sessions.c.id, sessions.c.revoked_at, sessions.c.tokens_expire_at
    ).where(sessions.c.tokens_expire_at > func.now())
    of_keys = select(
        literal("api_key").label("kind"),
        api_keys.c.id,
        api_keys.c.revoked_at,
        (api_keys.c.revoked_at + life).label("tokens_expire_at"),
    ).where(api_keys.c.revoked_at > func.now() - life)

    def some(wanted: Select[Any]) -> Select[Any]:
        """Return the first of one kind: whatever there is beyond them is not looked at."""
        found, key_id = wanted.selected_columns.revoked_at, wanted.selected_columns.id
        wanted = wanted.where(found >= since).order_by(found, key_id).limit(limit)
        if within_a_moment:
            wanted = wanted.where(or_(found > since, key_id > bindparam("after", type_=Uuid)))
        return select(wanted.subquery())

    both = union_all(some(of_sessions), some(of_keys)).subquery()
    return select(both).order_by(both.c.revoked_at, both.c.id).limit(limit)


_ALL, _OF_A_MOMENT = _statement(within_a_moment=False), _statement(within_a_moment=True)
_HORIZON = select(func.now() - OVERLAP)


async def revocations_since(
    connection: AsyncConnection, since: datetime, *, after: UUID | None = None, key_token_life: timedelta, limit: int
) -> list[Revocation]:
    """Return up to `limit` revocations from `since` on whose tokens may still be alive, oldest first.

    Of those at `since` itself, with `after` only those whose ids are greater: any number may be revoked at one moment.
    """
    values = {"since": since, "after": after, "key_token_life": key_token_life, "most": limit}
    rows = await connection.execute(_OF_A_MOMENT if after is not None else _ALL, values)
    return [Revocation(*row) for row in rows]


async def safe_horizon(connection: AsyncConnection) -> datetime:
    """Return the time up to which every revocation is visible by now."""
    horizon: datetime = (await connection.execute(_HORIZON)).scalar_one()
    return horizon
