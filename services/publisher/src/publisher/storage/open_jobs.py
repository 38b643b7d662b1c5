"""Jobs of an account that have not ended."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.job import State
from publisher.storage.tables import publish_jobs

_OPEN = tuple(state.value for state in State if not state.is_end)


async def count_open_jobs(connection: AsyncConnection, account_id: UUID) -> int:
    """Return how many of the account's jobs have not ended.

    Reads open jobs alone, whatever number of ended ones is kept: a job that goes on by itself has a `run_at`, which is indexed.
    """
    jobs = publish_jobs
    statement = select(func.count()).where(
        jobs.c.run_at.is_not(None), jobs.c.account_id == account_id, jobs.c.state.in_(_OPEN)
    )
    return int(await connection.scalar(statement) or 0)
