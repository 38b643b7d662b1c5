"""What was measured of posts, read."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.post_measures import PostCurve, PostMeasure
from analytics.storage.statistics_tables import post_metrics, stats_posts

_COUNTERS = ("view_count", "like_count", "comment_count", "share_count")


async def curve_of(connection: AsyncConnection, post_id: UUID, *, user_id: UUID, limit: int) -> PostCurve | None:
    """Return a user's post with its newest `limit` measures, None when the user has no such post."""
    own = stats_posts.c
    post = select(own.tiktok_video_id, own.measured_at, *(own[name] for name in _COUNTERS)).where(
        own.post_id == post_id, own.user_id == user_id
    )
    found = (await connection.execute(post)).one_or_none()
    if found is None:
        return None
    latest = None if found.measured_at is None else _measure(found.measured_at, found)
    measured = post_metrics.c
    newest = (
        select(measured.collected_at, *(measured[name] for name in _COUNTERS))
        .where(measured.post_id == post_id)
        .order_by(measured.collected_at.desc())
        .limit(limit)
    )
    rows = (await connection.execute(newest)).all()
    return PostCurve(found.tiktok_video_id, latest, [_measure(row.collected_at, row) for row in reversed(rows)])


def _measure(collected_at: Any, row: Row[Any]) -> PostMeasure:
    return PostMeasure(collected_at, row.view_count, row.like_count, row.comment_count, row.share_count)
