"""Which token pairs are to be refreshed by the service itself, and when the next one is."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import AccountStatus
from accounts.storage.tables import account_tokens, tiktok_accounts

_tokens = account_tokens
OVERDUE_AFTER = timedelta(minutes=1)
TRIED_WITHIN = timedelta(minutes=10)
"""A pair that is late is tried again sooner than this, so the index of next tries finds it."""


@dataclass(frozen=True, slots=True)
class DueRefresh:
    """A claimed pair: another one in its place needs no refresh."""

    account_id: UUID
    pair_id: UUID


async def claim_due_refreshes(connection: AsyncConnection, *, limit: int, hold: timedelta) -> list[DueRefresh]:
    """Take up to `limit` pairs whose refresh is due and return those that are to be refreshed, longest due first.

    A claimed row is due again after `hold` unless its refresh brings another moment before: whoever claimed it may die. Paused
    accounts are refreshed like active ones; of expired and disconnected ones no further refresh is planned.
    """
    due = (
        select(_tokens.c.account_id, _tokens.c.next_refresh_at)
        .where(_tokens.c.next_refresh_at <= func.now())
        .order_by(_tokens.c.next_refresh_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    account = tiktok_accounts
    alive = and_(account.c.status != AccountStatus.EXPIRED.value, account.c.disconnected_at.is_(None))
    statement = (
        update(_tokens)
        .where(_tokens.c.account_id == due.c.account_id, account.c.id == due.c.account_id)
        .values(next_refresh_at=case((alive, func.now() + hold)))
        .returning(
            _tokens.c.account_id,
            _tokens.c.pair_id,
            due.c.next_refresh_at.label("due_at"),
            alive.label("alive"),
        )
    )
    rows = (await connection.execute(statement)).all()
    return [DueRefresh(row.account_id, row.pair_id) for row in sorted(rows, key=lambda row: row.due_at) if row.alive]


async def seconds_to_next_refresh(connection: AsyncConnection) -> float | None:
    """Return the seconds until the next refresh is due, negative when it is overdue; None when none is planned."""
    statement = select(func.extract("epoch", func.min(_tokens.c.next_refresh_at) - func.clock_timestamp()))
    seconds = await connection.scalar(statement)
    return None if seconds is None else float(seconds)


@dataclass(frozen=True, slots=True)
class LateRefreshes:
    """Pairs that should have another by now, those of them for more than a minute, and for how long the oldest."""

    due: int
    overdue: int
    oldest_seconds: float


async def late_refreshes(connection: AsyncConnection) -> LateRefreshes:
    """Count the pairs whose refresh is late, because it fails or because nobody does it."""
    # Not `clock_timestamp()`: what may change while a statement runs is looked up in no index.
    now = func.statement_timestamp()
    late_by = now - _tokens.c.refresh_due_at
    overdue = late_by > OVERDUE_AFTER
    statement = select(
        func.count(), func.count().filter(overdue), func.extract("epoch", func.max(late_by).filter(overdue))
    ).where(_tokens.c.next_refresh_at <= now + TRIED_WITHIN, _tokens.c.refresh_due_at <= now)
    due, old, seconds = (await connection.execute(statement)).one()
    return LateRefreshes(due, old, float(seconds or 0.0))
