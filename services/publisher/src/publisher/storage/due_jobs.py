"""Jobs whose time has come, locked for a claim: the earliest of all, and the earliest of others behind users with many."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.job import Lane
from publisher.domain.shares import DueJob
from publisher.storage.tables import publish_jobs

_jobs = publish_jobs

# Goes from user to user in the index by user: what it costs grows with the users who have something waiting, not with their jobs.
_OF_OTHERS = text("""
WITH RECURSIVE line AS (
  (SELECT user_id, run_at FROM publish_jobs WHERE lane = :lane AND run_at IS NOT NULL ORDER BY user_id, run_at LIMIT 1)
  UNION ALL
  SELECT following.user_id, following.run_at FROM line, LATERAL (
    SELECT user_id, run_at FROM publish_jobs WHERE lane = :lane AND run_at IS NOT NULL AND user_id > line.user_id
    ORDER BY user_id, run_at LIMIT 1
  ) AS following
), others AS MATERIALIZED (
  SELECT user_id FROM line WHERE run_at <= now() AND user_id <> ALL(:users) ORDER BY run_at LIMIT :limit
)
SELECT job.id, others.user_id, job.run_at FROM others, LATERAL (
  SELECT id, run_at FROM publish_jobs WHERE lane = :lane AND user_id = others.user_id AND run_at <= now()
  ORDER BY run_at LIMIT (SELECT greatest(1, :limit / count(*)) FROM others) FOR UPDATE SKIP LOCKED
) AS job
ORDER BY job.run_at
""").bindparams(bindparam("users", type_=ARRAY(Uuid)))


async def earliest(connection: AsyncConnection, lane: Lane, *, limit: int) -> list[DueJob]:
    """Lock and return up to `limit` due jobs of a lane, earliest first; rows that are locked are skipped."""
    statement = (
        select(_jobs.c.id, _jobs.c.user_id, _jobs.c.run_at)
        .where(_jobs.c.lane == lane.value, _jobs.c.run_at <= func.now())
        .order_by(_jobs.c.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [DueJob(row.id, row.user_id, row.run_at) for row in await connection.execute(statement)]


async def of_others(connection: AsyncConnection, lane: Lane, users: Collection[UUID | None], *, limit: int) -> list[DueJob]:
    """Lock and return up to `limit` due jobs of any but these users, earliest first, however many jobs come before them.

    Each of the others gets as good a share of `limit`, one job at least; with more of them than that, who has waited longest does.
    """
    parameters = {"lane": lane.value, "users": [user_id for user_id in users if user_id is not None], "limit": limit}
    rows = await connection.execute(_OF_OTHERS, parameters)
    return [DueJob(row.id, row.user_id, row.run_at) for row in rows]
