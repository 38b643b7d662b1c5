"""Which published videos are to be looked at, and who has them in hand: a call's worth of one account at a time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from analytics.domain.account_copy import ACTIVE, VIDEOS_SCOPE
from analytics.domain.measures import PostNumbers
from analytics.domain.month import Month
from analytics.domain.video_verdict import VideoVerdict, WatchedVideo
from analytics.storage.statistics_months import ensure_months
from common.database.database import Driver

MAX_VIDEOS = 20
"""TikTok tells so many in one call."""


@dataclass(frozen=True, slots=True)
class DueVideos:
    """Videos of one account in hand; the end of the lease is the taker's token. `is_allowed`: nothing speaks against looking."""

    account_id: UUID
    videos: Sequence[WatchedVideo]
    leased_until: datetime
    is_allowed: bool


_FREE = "metrics_due_at <= now() AND (leased_until IS NULL OR leased_until <= now())"
_CLAIM = f"""
WITH longest AS (
    SELECT account_id FROM stats_posts WHERE {_FREE} ORDER BY metrics_due_at LIMIT 1 FOR UPDATE SKIP LOCKED
), due AS (
    SELECT post_id FROM stats_posts WHERE account_id = (SELECT account_id FROM longest) AND {_FREE}
    ORDER BY metrics_due_at LIMIT {MAX_VIDEOS} FOR UPDATE SKIP LOCKED
)
UPDATE stats_posts mine SET leased_until = now() + $1 FROM due WHERE mine.post_id = due.post_id
RETURNING mine.post_id, account_id, tiktok_video_id, published_at, metrics_failures, leased_until, (
    SELECT status = $2 AND $3 = ANY(scopes) FROM stats_accounts accounts WHERE accounts.account_id = mine.account_id
) AS is_allowed
"""  # noqa: S608 - of constants


async def claim_due_videos(driver: Driver, *, lease: timedelta) -> DueVideos | None:
    """Take up to 20 due videos of the account that has waited longest; those whose taker died are due again after `lease`."""
    rows = await driver.fetch(_CLAIM, lease, ACTIVE, VIDEOS_SCOPE)
    if not rows:
        return None
    videos = [WatchedVideo(*row[:5]) for row in sorted(rows, key=lambda row: row["post_id"])]
    first = rows[0]
    # Of an account that was not heard of yet, accounts itself knows more.
    return DueVideos(first["account_id"], videos, first["leased_until"], first["is_allowed"] is not False)


_SETTLE = """
UPDATE stats_posts mine SET
    leased_until = NULL, metrics_due_at = told.next_at, metrics_failures = told.failures,
    view_count = coalesce(told.views, view_count), like_count = coalesce(told.likes, like_count),
    comment_count = coalesce(told.comments, comment_count), share_count = coalesce(told.shares, share_count),
    measured_at = CASE WHEN told.views IS NULL THEN measured_at ELSE $3 END,
    day_views = coalesce(day_views, CASE
        WHEN $3 >= published_at + interval '1 day' AND $3 < published_at + interval '36 hours' AND NOT published_by_owner
        THEN told.views
    END)
FROM unnest($1::uuid[], $4::timestamptz[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    AS told (post_id, next_at, failures, views, likes, comments, shares)
WHERE mine.post_id = told.post_id AND mine.leased_until = $2
RETURNING mine.post_id
"""
_MEASURES = """
INSERT INTO post_metrics (post_id, collected_at, view_count, like_count, comment_count, share_count)
SELECT post_id, $2, views, likes, comments, shares
FROM unnest($1::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS told (post_id, views, likes, comments, shares)
"""


async def settle_videos(driver: Driver, due: DueVideos, verdicts: Collection[VideoVerdict], *, at: datetime) -> None:
    """Store what was measured at `at`, and give the videos back; those that somebody else has in hand by now stay as they are."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.post_id)
    columns = _columns([verdict.numbers for verdict in ordered])
    mine = {
        row["post_id"]
        for row in await driver.fetch(
            _SETTLE,
            [verdict.post_id for verdict in ordered],
            due.leased_until,
            at,
            [verdict.next_at for verdict in ordered],
            [verdict.failures for verdict in ordered],
            *columns,
        )
    }
    measured = [(one.post_id, one.numbers) for one in ordered if one.numbers is not None and one.post_id in mine]
    if measured:
        await ensure_months(driver, "post_metrics", [Month.of(at)])
        await driver.execute(
            _MEASURES, [post_id for post_id, _ in measured], at, *_columns([numbers for _, numbers in measured])
        )


def _columns(numbers: Sequence[PostNumbers | None]) -> list[list[int | None]]:
    return [[None if one is None else one[place] for one in numbers] for place in range(len(PostNumbers._fields))]


async def release_videos(driver: Driver, due: DueVideos) -> None:
    """Give the videos back as they were: they stay due."""
    await driver.execute(
        "UPDATE stats_posts SET leased_until = NULL WHERE post_id = ANY($1) AND leased_until = $2",
        [video.post_id for video in due.videos],
        due.leased_until,
    )


async def seconds_to_next_video(driver: Driver) -> float | None:
    """Return the seconds until the next video is due that nobody has in hand, None when none is planned."""
    seconds: float | None = await driver.fetchval(
        "SELECT extract(epoch FROM metrics_due_at - now())::float8 FROM stats_posts"
        " WHERE metrics_due_at IS NOT NULL AND (leased_until IS NULL OR leased_until <= now())"
        " ORDER BY metrics_due_at LIMIT 1"
    )
    return seconds
