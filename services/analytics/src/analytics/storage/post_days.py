"""Days of posts rolled up, and added up again."""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Date, DateTime, Integer, Interval, Uuid
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.lateness_steps import LARGEST_MS, RATIO, SMALLEST_MS, percentile
from analytics.domain.overview import Counted, Lateness
from analytics.domain.period import Period
from analytics.storage.overview import FAILURE, STATE
from analytics.storage.statements import statement

_MOMENT = DateTime(timezone=True)
_ALMOST_A_DAY = timedelta(days=1, microseconds=-1)
_STEP = f"""
    CASE WHEN lateness_ms <= {SMALLEST_MS} THEN 0
         ELSE CAST(ceil(ln(least(lateness_ms, {LARGEST_MS}) / {SMALLEST_MS}) / ln({RATIO})) AS integer) END
"""

_TAKE = statement(
    """
    DELETE FROM stats_post_days_changed AS changed
    USING (
        SELECT user_id, day FROM stats_post_days_changed WHERE changed_at < clock_timestamp() - :rested
        ORDER BY changed_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS taken
    WHERE changed.user_id = taken.user_id AND changed.day = taken.day
    RETURNING changed.user_id, changed.day
    """,
    rested=Interval(),
    limit=Integer(),
)
_FORGET = statement(
    """
    DELETE FROM stats_post_days AS old USING unnest(:users, :days) AS taken (user_id, day)
    WHERE old.user_id = taken.user_id AND old.day = taken.day
    """,
    users=ARRAY(Uuid()),
    days=ARRAY(Date()),
)
_ROLL_UP = statement(
    f"""
    INSERT INTO stats_post_days (user_id, day, states, failures, lateness_steps, lateness_counts, lateness_max)
    SELECT taken.user_id, taken.day, states.counts, coalesce(failures.counts, '{{}}'),
           coalesce(late.steps, '{{}}'), coalesce(late.counts, '{{}}'), late.max
    FROM unnest(:users, :days) AS taken (user_id, day),
    LATERAL (SELECT taken.day AT TIME ZONE 'UTC' AS first, (taken.day + 1) AT TIME ZONE 'UTC' AS next) AS bounds,
    LATERAL (
        SELECT jsonb_object_agg(state, number) AS counts FROM (
            SELECT {STATE} AS state, count(*) AS number FROM stats_posts
            WHERE user_id = taken.user_id AND placed_at >= first AND placed_at < next GROUP BY 1
        ) AS counted
    ) AS states,
    LATERAL (
        SELECT jsonb_object_agg(code, number) AS counts FROM (
            SELECT {FAILURE} AS code, count(*) AS number FROM stats_posts
            WHERE user_id = taken.user_id AND placed_at >= first AND placed_at < next AND state = 'failed' GROUP BY 1
        ) AS counted
    ) AS failures,
    LATERAL (
        SELECT array_agg(step ORDER BY step) AS steps, array_agg(number ORDER BY step) AS counts, max(most) AS max FROM (
            SELECT {_STEP} AS step, CAST(count(*) AS integer) AS number, max(lateness_ms) AS most FROM stats_posts
            WHERE user_id = taken.user_id AND placed_at >= first AND placed_at < next AND lateness_ms IS NOT NULL GROUP BY 1
        ) AS counted
    ) AS late
    WHERE states.counts IS NOT NULL
    """,  # noqa: S608 - of constants
    users=ARRAY(Uuid()),
    days=ARRAY(Date()),
)

# One statement, so one snapshot: a day is either true in the roll-up or among those that have changed.
# Steps are unnested where they are selected: in FROM, those of each day are stored before they are read, which takes twice as long.
_ADDED_UP = statement(
    f"""
    WITH days AS MATERIALIZED (
        SELECT * FROM stats_post_days AS rolled_up
        WHERE user_id = :user_id AND day >= :first_day AND day < :end_day AND NOT EXISTS (
            SELECT FROM stats_post_days_changed AS changed
            WHERE changed.user_id = rolled_up.user_id AND changed.day = rolled_up.day
        )
    ), posts AS MATERIALIZED (
        SELECT post.* FROM (
            SELECT CAST(day AS date) AS day
            FROM generate_series(:since AT TIME ZONE 'UTC', :until AT TIME ZONE 'UTC' + interval '1 day', interval '1 day') AS day
            EXCEPT SELECT day FROM days
        ) AS missing,
        LATERAL (
            SELECT {STATE} AS state, {FAILURE} AS code, lateness_ms FROM stats_posts
            WHERE user_id = :user_id AND placed_at >= greatest(:since, missing.day AT TIME ZONE 'UTC')
              AND placed_at < least(:until, (missing.day + 1) AT TIME ZONE 'UTC')
        ) AS post
    )
    SELECT 'state' AS kind, key, sum(number) AS number, CAST(NULL AS double precision) AS most FROM (
        SELECT key, CAST(value AS bigint) AS number FROM days, jsonb_each_text(states)
        UNION ALL SELECT state, count(*) FROM posts GROUP BY state
    ) AS states GROUP BY key
    UNION ALL
    SELECT 'failure', key, sum(number), NULL FROM (
        SELECT key, CAST(value AS bigint) AS number FROM days, jsonb_each_text(failures)
        UNION ALL SELECT code, count(*) FROM posts WHERE code IS NOT NULL GROUP BY code
    ) AS failures GROUP BY key
    UNION ALL
    SELECT 'step', CAST(step AS text), sum(number), NULL FROM (
        SELECT step, sum(number) AS number FROM (
            SELECT unnest(lateness_steps) AS step, unnest(lateness_counts) AS number FROM days
        ) AS late GROUP BY step
        UNION ALL SELECT {_STEP}, count(*) FROM posts WHERE lateness_ms IS NOT NULL GROUP BY 1
    ) AS steps GROUP BY step
    UNION ALL
    SELECT 'most', NULL, CAST(NULL AS numeric), max(most) FROM (
        SELECT lateness_max AS most FROM days UNION ALL SELECT lateness_ms FROM posts
    ) AS late
    """,  # noqa: S608 - of constants
    user_id=Uuid(),
    since=_MOMENT,
    until=_MOMENT,
    first_day=Date(),
    end_day=Date(),
)
_MANY = statement(
    """
    SELECT count(*) > :limit FROM (
        SELECT FROM stats_posts WHERE user_id = :user_id AND placed_at >= :since AND placed_at < :until LIMIT :limit + 1
    ) AS found
    """,
    user_id=Uuid(),
    since=_MOMENT,
    until=_MOMENT,
    limit=Integer(),
)


async def take_changed(connection: AsyncConnection, *, rested: timedelta, limit: int) -> list[tuple[UUID, date]]:
    """Take up to `limit` users' days that changed and did not change again for so long; nobody else takes them meanwhile.

    Roll them up in the same transaction. Whoever changes a post of theirs waits for its end, and notes the day again.
    """
    return [(row.user_id, row.day) for row in await connection.execute(_TAKE, {"rested": rested, "limit": limit})]


async def roll_up(connection: AsyncConnection, taken: Sequence[tuple[UUID, date]]) -> None:
    """Count the posts of these users' days again; days without posts have no row."""
    values = {"users": [user_id for user_id, _ in taken], "days": [day for _, day in taken]}
    await connection.execute(_FORGET, values)
    await connection.execute(_ROLL_UP, values)


async def are_more_than(connection: AsyncConnection, user_id: UUID, asked: Period, limit: int) -> bool:
    """Tell whether the period has more posts than `limit`, counting no further."""
    values = {"user_id": user_id, "since": asked.since, "until": asked.until, "limit": limit}
    return bool(await connection.scalar(_MANY, values))


async def added_up(connection: AsyncConnection, user_id: UUID, asked: Period) -> Counted:
    """Return the posts of the period from the roll-up, and one by one those of days that are not whole or have changed.

    Counts are exact, percentiles of lateness are within 1 %, its maximum is exact.
    """
    values = {
        "user_id": user_id,
        "since": asked.since,
        "until": asked.until,
        "first_day": (asked.since.astimezone(UTC) + _ALMOST_A_DAY).date(),
        "end_day": asked.until.astimezone(UTC).date(),
    }
    numbers: dict[str, dict[str, int]] = {"state": {}, "failure": {}, "step": {}}
    most: float | None = None
    for row in await connection.execute(_ADDED_UP, values):
        if row.kind == "most":
            most = row.most
        else:
            numbers[row.kind][row.key] = int(row.number)
    steps = {int(step): number for step, number in numbers["step"].items()}
    p50, p95, p99 = (percentile(steps, part) for part in (0.5, 0.95, 0.99))
    return Counted(numbers["state"], numbers["failure"], Lateness(p50, p95, p99, most))
