"""TikTok's limits per minute and creator, kept before TikTok has to refuse; shared by all replicas."""

from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

WINDOW_SECONDS = 61.0
"""TikTok's minute slides; one second more covers that a call arrives there later than it was counted here."""

_TAKE = text(
    """
    INSERT INTO tiktok_quotas AS quota (open_id, endpoint, calls, taken_by)
    VALUES (:open_id, :endpoint, ARRAY[clock_timestamp()], CAST(:taker AS uuid))
    ON CONFLICT (open_id, endpoint) DO UPDATE SET (calls, taken_by) = (
        SELECT CASE WHEN cardinality(kept) < :allowed THEN array_append(kept, clock_timestamp()) ELSE kept END,
               CASE WHEN cardinality(kept) < :allowed THEN CAST(:taker AS uuid) ELSE quota.taken_by END
        FROM (SELECT coalesce(array_agg(call ORDER BY call), '{}') AS kept
              FROM unnest(quota.calls) AS call
              WHERE call > clock_timestamp() - make_interval(secs => :window)) AS recent)
    RETURNING taken_by = CAST(:taker AS uuid) AS granted,
              extract(epoch FROM calls[1] - clock_timestamp()) + :window AS wait
    """
)


@dataclass(frozen=True, slots=True)
class Limit:
    """So many calls of an endpoint per minute and creator."""

    endpoint: str
    per_minute: int


INIT = Limit("init", 6)
CREATOR_INFO = Limit("creator_info", 20)
STATUS = Limit("status", 30)


async def take(connection: AsyncConnection, open_id: str, limit: Limit) -> float | None:
    """Take one call of the creator's quota in one atomic statement.

    Returns None when it was granted, else the seconds until the oldest call leaves the sliding window.
    """
    parameters: dict[str, str | int | float] = {
        "open_id": open_id,
        "endpoint": limit.endpoint,
        "allowed": limit.per_minute,
        "window": WINDOW_SECONDS,
    }
    parameters["taker"] = str(uuid4())
    row = (await connection.execute(_TAKE, parameters)).one()
    return None if row.granted else max(float(row.wait), 0.05)
