"""Copies of posts: read and written many at a time, by whoever holds the place in the trail."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from analytics.domain.post_copy import PostCopy
from common.database.database import Driver

_TYPES = {
    "post_id": "uuid",
    "user_id": "uuid",
    "heard_at": "timestamptz",
    "account_id": "uuid",
    "state": "text",
    "state_sequence": "bigint",
    "attempt": "int",
    "outcome_sequence": "bigint",
    "progress": "text",
    "progress_attempt": "int",
    "progress_sequence": "bigint",
    "scheduled_at": "timestamptz",
    "published_at": "timestamptz",
    "published_by_owner": "boolean",
    "tiktok_video_id": "text",
    "error_code": "text",
    "lateness_ms": "float8",
}
_FIELDS = tuple(field.name for field in fields(PostCopy))
_WRITTEN = (*_FIELDS, "placed_at", "metrics_due_at")
_CHANGED = [name for name in _FIELDS if name not in {"post_id", "user_id"}] + ["placed_at"]

_FIND = f"SELECT {', '.join(_FIELDS)} FROM stats_posts WHERE post_id = ANY($1)"  # noqa: S608 - of constants
_ARRAYS = [*(_TYPES[name] for name in _FIELDS), "timestamptz", "timestamptz"]
_SAVE = f"""
INSERT INTO stats_posts AS mine ({", ".join(_WRITTEN)})
SELECT * FROM unnest({", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_ARRAYS, start=1))})
ON CONFLICT (post_id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _CHANGED)},
    metrics_due_at = coalesce(excluded.metrics_due_at, mine.metrics_due_at)
"""  # noqa: S608 - of constants


async def find_posts(driver: Driver, post_ids: Collection[UUID]) -> dict[UUID, PostCopy]:
    """Return those that are known."""
    return {row["post_id"]: PostCopy(*row) for row in await driver.fetch(_FIND, list(post_ids))}


async def save_posts(driver: Driver, copies: Collection[PostCopy], *, measured_from: Mapping[UUID, datetime]) -> None:
    """Write copies, each once. `measured_from` says of posts that became measurable when their first measure is due."""
    ordered = sorted(copies, key=lambda copy: copy.post_id)
    columns = [[getattr(copy, name) for copy in ordered] for name in (*_FIELDS, "placed_at")]
    await driver.execute(_SAVE, *columns, [measured_from.get(copy.post_id) for copy in ordered])


_CLEAR = """
UPDATE stats_posts SET view_count = NULL, like_count = NULL, comment_count = NULL, share_count = NULL, measured_at = NULL,
    day_views = NULL, metrics_failures = 0, leased_until = NULL
WHERE post_id = ANY($1)
"""
_FORGET = """
DELETE FROM post_metrics USING unnest($1::uuid[], $2::timestamptz[]) AS told (post_id, until)
WHERE post_metrics.post_id = told.post_id AND collected_at < until
"""


async def forget_measures(driver: Driver, until: Mapping[UUID, datetime]) -> None:
    """Remove what was measured of posts before these times, which was of other videos; a look that is under way tells nothing."""
    ordered = sorted(until)
    await driver.execute(_CLEAR, ordered)
    await driver.execute(_FORGET, ordered, [until[post_id] for post_id in ordered])


_RESTORE = """
UPDATE stats_posts mine
SET view_count = newest.view_count, like_count = newest.like_count, comment_count = newest.comment_count,
    share_count = newest.share_count, measured_at = newest.collected_at, day_views = aged.view_count
FROM (
    SELECT DISTINCT ON (post_id) * FROM post_metrics WHERE post_id = ANY($1) AND collected_at >= $2
    ORDER BY post_id, collected_at DESC
) newest LEFT JOIN (
    SELECT DISTINCT ON (measures.post_id) measures.post_id, measures.view_count
    FROM post_metrics measures JOIN stats_posts posts USING (post_id)
    WHERE measures.post_id = ANY($1) AND measures.collected_at >= $2
      AND measures.collected_at >= posts.published_at + interval '1 day'
      AND measures.collected_at < posts.published_at + interval '36 hours' AND NOT posts.published_by_owner
    ORDER BY measures.post_id, measures.collected_at
) aged USING (post_id)
WHERE mine.post_id = newest.post_id AND mine.measured_at IS NULL
"""


async def restore_counters(driver: Driver, post_ids: Collection[UUID], *, since: datetime) -> None:
    """Give copies that were made anew the counters that were measured, none of them before `since`."""
    await driver.execute(_RESTORE, list(post_ids), since)
