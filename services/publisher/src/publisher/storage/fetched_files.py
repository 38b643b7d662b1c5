"""Which fetched files jobs still need, and which are to be removed."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.storage.tables import publish_jobs

_jobs = publish_jobs
_key = _jobs.c.fetched["storage_key"].astext


async def of_ended_jobs(connection: AsyncConnection, *, limit: int) -> Sequence[tuple[UUID, str]]:
    """Return up to `limit` files whose jobs have ended, as (job, key)."""
    statement = (
        select(_jobs.c.id, _key)
        .where(_jobs.c.fetched.is_not(None), _jobs.c.fetched_removed_at.is_(None), _jobs.c.finished_at.is_not(None))
        .order_by(_jobs.c.finished_at)
        .limit(limit)
    )
    return [(job_id, key) for job_id, key in await connection.execute(statement)]


async def note_removed(connection: AsyncConnection, job_ids: Collection[UUID]) -> None:
    """Note that the files of these jobs are gone."""
    statement = update(_jobs).where(_jobs.c.id.in_(job_ids)).values(fetched_removed_at=func.clock_timestamp())
    await connection.execute(statement)


async def needed_of(connection: AsyncConnection, job_ids: Collection[UUID]) -> set[str]:
    """Return the keys that those of the jobs need that have not ended."""
    statement = select(_key).where(_jobs.c.id.in_(job_ids), _jobs.c.fetched.is_not(None), _jobs.c.finished_at.is_(None))
    return set(await connection.scalars(statement))
