"""What the publisher knows of accounts: only ever a reason to ask the accounts service again, never an answer."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.storage.tables import accounts, publish_jobs

ACTIVE = "active"
DISCONNECTED = "disconnected"

_jobs = publish_jobs


@dataclass(frozen=True, slots=True)
class AccountCopy:
    """An account as its newest event told it; `version` is the accounts service's."""

    id: UUID
    status: str
    version: int


async def save(connection: AsyncConnection, copy: AccountCopy) -> bool:
    """Store a copy unless one as new is known; False when it was. Its row stays locked until the transaction ends."""
    values = {"status": copy.status, "version": copy.version}
    statement = (
        insert(accounts)
        .values(id=copy.id, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values, where=accounts.c.version < copy.version)
        .returning(accounts.c.id)
    )
    return (await connection.execute(statement)).one_or_none() is not None


async def is_away(connection: AsyncConnection, account_id: UUID) -> bool:
    """Whether the newest event says that the account cannot publish; False when nothing was heard of it."""
    statement = select(accounts.c.id).where(accounts.c.id == account_id, accounts.c.status != ACTIVE)
    return (await connection.execute(statement)).one_or_none() is not None


async def version_held(connection: AsyncConnection, account_id: UUID) -> int:
    """Return the version of the newest event (0: none yet), kept from changing until the transaction ends.

    A job that is put to wait after this is either found by the event that ends the wait, or has seen its version here.
    """
    await connection.execute(insert(accounts).values(id=account_id, version=0).on_conflict_do_nothing())
    statement = select(accounts.c.version).where(accounts.c.id == account_id).with_for_update(read=True)
    version: int = (await connection.execute(statement)).scalar_one()
    return version


async def wake_jobs(connection: AsyncConnection, account_id: UUID) -> int:
    """Make the jobs that wait for this account due now, in the order in which their posts were due; returns how many."""
    waiting = (
        select(_jobs.c.id, _jobs.c.due_at, _jobs.c.post_id)
        .where(
            _jobs.c.account_id == account_id,
            _jobs.c.awaits_account,
            _jobs.c.lease_owner.is_(None),
            _jobs.c.run_at.is_not(None),
        )
        .order_by(_jobs.c.id)
        .with_for_update()
        .cte("waiting")
    )
    place = func.row_number().over(order_by=(waiting.c.due_at, waiting.c.post_id))
    ordered = select(waiting.c.id, cast(place, BigInteger).label("place")).cte("ordered")
    statement = (
        update(_jobs)
        .where(_jobs.c.id == ordered.c.id)
        .values(run_at=func.now() + ordered.c.place * text("interval '1 microsecond'"), awaits_account=False)
    )
    return (await connection.execute(statement)).rowcount
