"""Posts that have stayed in a moving state past their deadline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.storage.claim import DuePost

SWEEP = """
WITH head AS MATERIALIZED (
  SELECT id, media_id FROM posts
  WHERE status IN ('due', 'publishing', 'deferred', 'processing') AND sweep_at <= statement_timestamp()
  ORDER BY sweep_at LIMIT :batch
  FOR UPDATE SKIP LOCKED
), chosen AS (
  SELECT head.id, file.*
  FROM head LEFT JOIN LATERAL (
    SELECT media.id AS file_id, storage_key, content_type, size_bytes, sha256, duration_ms
    FROM media WHERE media.id = head.media_id LIMIT 1
  ) AS file ON true
)
UPDATE posts SET sweep_at = statement_timestamp() + least(greatest(
  CAST(:again_after AS interval), statement_timestamp() - greatest(updated_at, forecast_at)), CAST(:at_most AS interval))
FROM chosen WHERE posts.id = chosen.id
RETURNING posts.id, posts.user_id, posts.account_id, posts.status, posts.attempt, posts.version, posts.scheduled_time,
  posts.due_at, posts.publish_before, posts.mode, posts.transfer, posts.title, posts.privacy_level, posts.disable_comment,
  posts.disable_duet, posts.disable_stitch, posts.brand_content_toggle, posts.brand_organic_toggle, posts.is_aigc,
  posts.cover_timestamp_ms, posts.photo_title, posts.photo_cover_index, posts.auto_add_music,
  posts.media_id, posts.source_url, posts.photo_urls, posts.correlation_id,
  posts.dismissed_attempts,
  file_id, storage_key, content_type, size_bytes, sha256, duration_ms
"""
_SWEEP = text(SWEEP)

_NEXT_SWEEP = text("""
SELECT extract(epoch FROM sweep_at - clock_timestamp())::float8 FROM posts
WHERE status IN ('due', 'publishing', 'deferred', 'processing') AND sweep_at IS NOT NULL
ORDER BY sweep_at LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """How many posts one sweep takes, and when one that goes on unchanged is asked about again, at the earliest and latest.

    One that cannot be asked about is over after `hopeless_after`: the publisher has told an end by then of all that it had begun.
    """

    batch: int = 200
    again_after: timedelta = timedelta(minutes=2)
    at_most: timedelta = timedelta(hours=1)
    hopeless_after: timedelta = timedelta(hours=48)


async def take_overdue(connection: AsyncConnection, limits: SweepLimits) -> Sequence[DuePost]:
    """Return moving posts past their deadline and give them a new one; their state and version stay as they are.

    The next deadline is as far away as the last change (or the end of the wait that was told) lies back: the interval doubles.
    """
    parameters = {"batch": limits.batch, "again_after": limits.again_after, "at_most": limits.at_most}
    rows = await connection.execute(_SWEEP, parameters)
    return [DuePost(*row) for row in rows]


async def seconds_to_next_sweep(connection: AsyncConnection) -> float | None:
    """Return the seconds until the earliest deadline of a moving post (negative: passed), None when nothing moves."""
    seconds = await connection.scalar(_NEXT_SWEEP)
    return None if seconds is None else float(seconds)
