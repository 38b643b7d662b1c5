"""Grants that are to be revoked at TikTok, one row per disconnected account.

A row is taken for `lease` at a time under a `claim_id`; every result is stored under it, so that a replica that lost the row, or
an account that was connected again (which removes the row), is not touched. `calling_until` tells that a call may be on its way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import account_tokens, grant_revocations

_table = grant_revocations


@dataclass(frozen=True, slots=True)
class DueRevocation:
    """A grant whose turn has come; `patience_left` while jobs under way may still use it."""

    account_id: UUID
    claim_id: UUID
    attempts: int
    patience_left: bool
    given_up: bool


async def plan_revocation(
    connection: AsyncConnection, account_id: UUID, *, first_look: timedelta, patience: timedelta
) -> None:
    """Plan the revocation of a disconnected account's grant."""
    values = {
        "requested_at": func.now(),
        "due_at": func.now() + first_look,
        "deadline_at": func.now() + patience,
        "claim_id": None,
        "calling_until": None,
        "attempts": 0,
        "last_error": None,
        "finished_at": None,
        "outcome": None,
    }
    statement = insert(_table).values(account_id=account_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=[_table.c.account_id], set_=values))


async def cancel_revocation(connection: AsyncConnection, account_id: UUID, *, granted_at: datetime) -> bool:
    """Forget the revocation of an account that is being connected again with a grant from `granted_at`.

    False, and nothing changed, when a revocation that may have hit the new grant is on its way or has just been made.
    """
    hit = func.coalesce(_table.c.calling_until > func.now(), False) | func.coalesce(
        _table.c.finished_at > granted_at - CLOCK_TOLERANCE, False
    )
    row = (await connection.execute(select(hit).where(_table.c.account_id == account_id).with_for_update())).one_or_none()
    if row is not None and row[0]:
        return False
    await connection.execute(delete(_table).where(_table.c.account_id == account_id))
    return True


async def claim_due(
    connection: AsyncConnection, claim_id: UUID, *, lease: timedelta, limit: int, give_up_after: timedelta
) -> Sequence[DueRevocation]:
    """Take up to `limit` due rows for `lease`; rows of other replicas are passed over."""
    due = (
        select(_table.c.account_id)
        .where(_table.c.finished_at.is_(None), _table.c.due_at <= func.now())
        .order_by(_table.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    statement = (
        update(_table)
        .where(_table.c.account_id == due.c.account_id)
        .values(claim_id=claim_id, due_at=func.now() + lease)
        .returning(
            _table.c.account_id,
            _table.c.claim_id,
            _table.c.attempts,
            _table.c.deadline_at > func.now(),
            _table.c.deadline_at + give_up_after <= func.now(),
        )
    )
    return [DueRevocation(*row) for row in await connection.execute(statement)]


async def seconds_until_due(connection: AsyncConnection) -> float | None:
    """Return the seconds until the next row is due, None when there is none."""
    first = func.min(_table.c.due_at)
    seconds = await connection.scalar(select(func.extract("epoch", first - func.now())).where(_table.c.finished_at.is_(None)))
    return None if seconds is None else float(seconds)


async def postpone(connection: AsyncConnection, due: DueRevocation, wait: timedelta) -> bool:
    """Look again after `wait`, or at the deadline if that is earlier."""
    again = func.least(func.now() + wait, func.greatest(_table.c.deadline_at, func.now()))
    return await _store(connection, due, due_at=again)


async def begin_call(connection: AsyncConnection, due: DueRevocation, *, at_most: timedelta) -> bool:
    """Note, before TikTok is called, that the call may take until `at_most` from now; False when the row is someone else's."""
    return await _store(connection, due, calling_until=func.now() + at_most, attempts=_table.c.attempts + 1)


async def retry_later(connection: AsyncConnection, due: DueRevocation, *, error: str, wait: timedelta) -> bool:
    """Note why the call failed and try again after `wait`."""
    return await _store(connection, due, calling_until=None, last_error=error, due_at=func.now() + wait)


async def finish(connection: AsyncConnection, due: DueRevocation, *, outcome: str) -> bool:
    """Note how it ended and delete the account's sealed tokens; False when the row is someone else's."""
    if not await _store(connection, due, calling_until=None, finished_at=func.now(), outcome=outcome):
        return False
    await connection.execute(delete(account_tokens).where(account_tokens.c.account_id == due.account_id))
    return True


async def _store(connection: AsyncConnection, due: DueRevocation, **values: object) -> bool:
    statement = update(_table).where(_mine(due)).values(values)
    return bool((await connection.execute(statement)).rowcount)


def _mine(due: DueRevocation) -> ColumnElement[bool]:
    return and_(_table.c.account_id == due.account_id, _table.c.claim_id == due.claim_id, _table.c.finished_at.is_(None))


CLOCK_TOLERANCE = timedelta(seconds=5)
"""Between this process's clock, which dates grants, and the database's."""
