"""Claiming due posts: exclusive, by the database's clock, fair between users."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Driver

_OF_ALL = """
  SELECT id, user_id, media_id, next_attempt_at FROM posts
  WHERE status IN ('scheduled', 'retry_scheduled') AND NOT held AND next_attempt_at <= statement_timestamp()
  ORDER BY next_attempt_at LIMIT $1
  FOR UPDATE SKIP LOCKED
"""
_OF_USERS = """
  SELECT post.* FROM unnest($7::uuid[]) AS users (id), LATERAL (
    SELECT id, user_id, media_id, next_attempt_at FROM posts
    WHERE status IN ('scheduled', 'retry_scheduled') AND NOT held AND user_id = users.id
      AND next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at LIMIT $2
    FOR UPDATE SKIP LOCKED
  ) AS post LIMIT $1
"""
_CLAIM = """
WITH head AS MATERIALIZED ({head}), ranked AS (
  SELECT id, media_id, row_number() OVER (PARTITION BY user_id ORDER BY next_attempt_at) AS place FROM head
), chosen AS (
  SELECT ranked.id, file.*, statement_timestamp() AS now
  FROM ranked LEFT JOIN LATERAL (
    SELECT media.id AS file_id, storage_key, content_type, size_bytes, sha256, duration_ms
    FROM media WHERE media.id = ranked.media_id LIMIT 1
  ) AS file ON true
  WHERE place <= $2
)
UPDATE posts SET
  version = version + 1,
  updated_at = now,
  status = CASE WHEN publish_before <= now THEN 'failed' ELSE 'due' END,
  attempt = attempt + CASE WHEN publish_before <= now THEN 0 ELSE 1 END,
  due_at = next_attempt_at,
  next_attempt_at = NULL,
  forecast_at = NULL,
  started_at = NULL,
  submitted_at = NULL,
  publisher_sequence = 0,
  ended_at = CASE WHEN publish_before <= now THEN now END,
  sweep_at = CASE WHEN publish_before <= now THEN NULL ELSE now + $3::interval END,
  error_code = CASE WHEN publish_before <= now THEN $4::text END,
  error_message = CASE WHEN publish_before <= now THEN $5::text END,
  error_hint = CASE WHEN publish_before <= now THEN $6::text END
FROM chosen WHERE posts.id = chosen.id
RETURNING posts.id, posts.user_id, posts.account_id, posts.status, posts.attempt, posts.version, posts.scheduled_time,
  posts.due_at, posts.publish_before, posts.mode, posts.transfer, posts.title, posts.privacy_level, posts.disable_comment,
  posts.disable_duet, posts.disable_stitch, posts.brand_content_toggle, posts.brand_organic_toggle, posts.is_aigc,
  posts.cover_timestamp_ms, posts.photo_title, posts.photo_cover_index, posts.auto_add_music,
  posts.media_id, posts.source_url, posts.photo_urls, posts.correlation_id,
  posts.dismissed_attempts,
  file_id, storage_key, content_type, size_bytes, sha256, duration_ms
"""
FIRST_CLAIM = _CLAIM.format(head=_OF_ALL)
_USERS_CLAIM = _CLAIM.format(head=_OF_USERS)

_FAIL = text("""
UPDATE posts SET status = 'failed', attempt = attempt - 1, sweep_at = NULL, ended_at = statement_timestamp(),
  error_code = :code, error_message = :message, error_hint = :hint
WHERE id = ANY(:ids) AND status = 'due'
""")

_NEXT_DUE = """
SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8 FROM posts
WHERE status IN ('scheduled', 'retry_scheduled') AND NOT held AND next_attempt_at IS NOT NULL
ORDER BY next_attempt_at LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """How much one claim takes: rows in all, rows of one user, and after how long an unanswered post is asked about."""

    batch: int = 500
    per_user: int = 50
    sweep_after: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class FailureText:
    """What a post says that failed before an attempt could begin."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class DuePost:
    """A claimed post: `status` is `due`, or `failed` when its deadline has passed.

    `file_id` and what follows describe its media file and are None together when it has none.
    """

    id: UUID
    user_id: UUID
    account_id: UUID
    status: str
    attempt: int
    version: int
    scheduled_time: datetime | None
    due_at: datetime
    publish_before: datetime
    mode: Any
    transfer: Any
    title: str
    privacy_level: Any
    disable_comment: bool
    disable_duet: bool
    disable_stitch: bool
    brand_content_toggle: bool
    brand_organic_toggle: bool
    is_aigc: bool
    cover_timestamp_ms: int | None
    photo_title: str | None
    photo_cover_index: int | None
    auto_add_music: bool
    media_id: UUID | None
    source_url: str | None
    photo_urls: list[str]
    correlation_id: str | None
    dismissed_attempts: int
    file_id: UUID | None
    storage_key: Any
    content_type: Any
    size_bytes: Any
    sha256: Any
    duration_ms: int | None


async def claim_due(driver: Driver, limits: ClaimLimits, deadline: FailureText) -> Sequence[DuePost]:
    """Mark posts whose time has come as `due` (attempt + 1, version + 1) and return them; none early, none twice.

    The earliest of all. One statement: rows locked by another replica are skipped, at most `per_user` of one user are taken. Posts
    past `publish_before` become `failed` instead.
    """
    return [DuePost(*row) for row in await driver.fetch(FIRST_CLAIM, *_values(limits, deadline))]


async def claim_due_of(
    driver: Driver, limits: ClaimLimits, deadline: FailureText, users: Collection[UUID]
) -> Sequence[DuePost]:
    """Do the same with posts of these users only, the earliest of each, however many of others come before them."""
    return [DuePost(*row) for row in await driver.fetch(_USERS_CLAIM, *_values(limits, deadline), list(users))]


def _values(limits: ClaimLimits, deadline: FailureText) -> tuple[object, ...]:
    return (limits.batch, limits.per_user, limits.sweep_after, deadline.code, deadline.message, deadline.hint)


async def fail_claimed(connection: AsyncConnection, ids: Collection[UUID], failure: FailureText) -> None:
    """Mark posts that this transaction has claimed as failed; the attempt that was to begin does not count."""
    parameters = {"ids": list(ids), "code": failure.code, "message": failure.message, "hint": failure.hint}
    await connection.execute(_FAIL, parameters)


async def seconds_to_next_due(driver: Driver) -> float | None:
    """Return the seconds until the earliest waiting post is due (negative: overdue), None when none waits."""
    seconds: float | None = await driver.fetchval(_NEXT_DUE)
    return seconds
