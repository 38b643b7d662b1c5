"""How an account's posts, or drafts, of the day stand, and who is in line for more of them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.pacing import Limit, Standing
from publisher.storage.tables import BEGINS_SQL

IN_LINE_AT_MOST = 1000

# As those statements count that take one: what was taken for a job that published nothing and never will is free again.
_STANDING = text("""
    SELECT clock_timestamp() AS now, quota.not_before, (
        SELECT coalesce(array_agg(one.call ORDER BY one.call), '{}')
        FROM unnest(quota.calls, quota.takers) AS one(call, taker)
        WHERE one.call > clock_timestamp() - make_interval(secs => :window)
          AND NOT EXISTS (
              SELECT 1 FROM publish_jobs AS done WHERE done.id = one.taker AND done.state IN ('failed', 'cancelled'))
    ) AS calls
    FROM (VALUES (1)) AS always LEFT JOIN tiktok_quotas AS quota ON quota.owner = :owner AND quota.name = :name
""")
_IN_LINE = text(f"""
    SELECT publish_before FROM publish_jobs
    WHERE account_id = :account AND {BEGINS_SQL} AND post ->> 'mode' = :mode AND NOT awaits_account
      AND publish_before > clock_timestamp()
      AND NOT EXISTS (
          SELECT 1 FROM tiktok_quotas AS quota
          WHERE quota.owner = :owner AND quota.name = :name AND publish_jobs.id = ANY (quota.takers))
    ORDER BY due_at, post_id LIMIT :most
""")  # noqa: S608 - a text of this package


async def day_of(
    connection: AsyncConnection, limit: Limit, account_id: UUID, mode: str
) -> tuple[Standing, Sequence[datetime]]:
    """Return how the account's daily limit stands, and the deadlines of its jobs in line, the first thousand in their order.

    Jobs that wait for their account are not in line. Nothing is taken.
    """
    asked = {"owner": str(account_id), "name": limit.name}
    row = (await connection.execute(_STANDING, asked | {"window": limit.window})).one()
    line = await connection.execute(_IN_LINE, asked | {"account": account_id, "mode": mode, "most": IN_LINE_AT_MOST})
    deadlines = [found.publish_before for found in line]
    return Standing(False, row.calls, len(deadlines), row.not_before, row.now), deadlines
