"""How a user's posts of a period went, counted by the database."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Integer, Interval, Uuid
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.overview import BestHour, Counted, Lateness
from analytics.domain.period import Period
from analytics.storage.statements import statement

_MOMENT = DateTime(timezone=True)
_OF_PERIOD = {"user_id": Uuid(), "since": _MOMENT, "until": _MOMENT}

STATE = "CASE WHEN state = 'due' AND progress_attempt = attempt AND progress IS NOT NULL THEN progress ELSE state END"
"""The publisher's word about an attempt counts while the scheduler says no more than that it is due."""

FAILURE = "CASE WHEN state = 'failed' THEN coalesce(error_code, 'unknown') END"
"""The code that a failed post failed with, null of others."""

_STATES = statement(
    f"""
    SELECT {STATE} AS state, {FAILURE} AS code, count(*) AS number
    FROM stats_posts WHERE user_id = :user_id AND placed_at >= :since AND placed_at < :until GROUP BY 1, 2
    """,  # noqa: S608 - of constants
    **_OF_PERIOD,
)
_LATENESS = statement(
    """
    SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY lateness_ms) AS percentiles, max(lateness_ms) AS max
    FROM stats_posts WHERE user_id = :user_id AND placed_at >= :since AND placed_at < :until AND lateness_ms IS NOT NULL
    """,
    **_OF_PERIOD,
)
_BEST_HOURS = statement(
    """
    SELECT CAST(extract(isodow FROM local) AS integer) AS weekday, CAST(extract(hour FROM local) AS integer) AS hour,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY day_views) AS median_views, count(*) AS sample_size
    FROM (
        SELECT day_views, published_at AT TIME ZONE 'UTC' + (:offsets)[width_bucket(published_at, :changes)] AS local
        FROM stats_posts
        WHERE user_id = :user_id AND published_at >= :since AND published_at < :until AND day_views IS NOT NULL
        ORDER BY published_at DESC LIMIT :sample
    ) AS sample
    GROUP BY 1, 2 ORDER BY median_views DESC, sample_size DESC, weekday, hour
    """,
    **_OF_PERIOD,
    offsets=ARRAY(Interval()),
    changes=ARRAY(_MOMENT),
    sample=Integer(),
)


async def counted(connection: AsyncConnection, user_id: UUID, asked: Period) -> Counted:
    """Return the posts of the period counted one by one; of a post's attempts the greatest lateness counts."""
    values = {"user_id": user_id, "since": asked.since, "until": asked.until}
    states: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for row in await connection.execute(_STATES, values):
        states[row.state] += row.number
        if row.code is not None:
            failures[row.code] += row.number
    late = (await connection.execute(_LATENESS, values)).one()
    p50, p95, p99 = late.percentiles or (None, None, None)
    return Counted(states, failures, Lateness(p50, p95, p99, late.max))


async def best_hours(
    connection: AsyncConnection,
    user_id: UUID,
    asked: Period,
    offsets: Sequence[tuple[datetime, timedelta]],
    *,
    sample: int,
) -> list[BestHour]:
    """Return the hours of the week in which the posts were published that were watched most in their first day, best first.

    `offsets` are those of the asked time zone, from the period's beginning on. Of more than `sample` posts the newest count.
    """
    values = {
        "user_id": user_id,
        "since": asked.since,
        "until": asked.until,
        "changes": [moment for moment, _ in offsets],
        "offsets": [offset for _, offset in offsets],
        "sample": sample,
    }
    rows = await connection.execute(_BEST_HOURS, values)
    return [BestHour(row.weekday, row.hour, row.median_views, row.sample_size) for row in rows]
