"""A user's accounts counted and added up."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import AccountStatus
from accounts.domain.profile import COUNT_MAX
from accounts.storage.tables import tiktok_accounts

_table = tiktok_accounts


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers over all connected accounts of one user; sums stop at what 64 bits hold."""

    total_accounts: int
    active_accounts: int
    total_followers: int
    total_videos: int


async def summarise(connection: AsyncConnection, user_id: UUID) -> Summary:
    """Return the numbers, in one query."""
    active = _table.c.status == AccountStatus.ACTIVE.value

    def total(column: ColumnElement[Any]) -> ColumnElement[int]:
        # A sum of 64-bit numbers is a numeric, which may be larger than they are.
        return cast(func.least(func.coalesce(func.sum(column), 0), COUNT_MAX), BigInteger)

    statement = select(
        func.count(), func.count().filter(active), total(_table.c.follower_count), total(_table.c.video_count)
    ).where(_table.c.user_id == user_id, _table.c.disconnected_at.is_(None))
    return Summary(*(await connection.execute(statement)).one())
