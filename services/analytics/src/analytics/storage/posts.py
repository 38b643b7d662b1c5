"""Posts as the statistics know them, in pages."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Integer, Uuid
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.storage.overview import STATE
from analytics.storage.statements import statement

_MOMENT = DateTime(timezone=True)
_PAGE = statement(
    f"""
    SELECT CAST(post_id AS text) AS id, CAST(account_id AS text) AS account_id, {STATE} AS state, placed_at, published_at,
           tiktok_video_id, lateness_ms, error_code, view_count, like_count, comment_count, share_count, measured_at
    FROM stats_posts
    WHERE user_id = :user_id AND placed_at >= :after_at AND placed_at < :until AND (placed_at, post_id) > (:after_at, :after_id)
    ORDER BY placed_at, post_id LIMIT :limit
    """,  # noqa: S608 - of a constant
    user_id=Uuid(),
    after_at=_MOMENT,
    after_id=Uuid(),
    until=_MOMENT,
    limit=Integer(),
)


async def page(
    connection: AsyncConnection, user_id: UUID, *, after: tuple[datetime, UUID], until: datetime, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` of a user's posts placed before `until`, behind `after` (time and id), oldest first.

    Each is a row of `domain.post_file`.
    """
    values = {"user_id": user_id, "after_at": after[0], "after_id": after[1], "until": until, "limit": limit}
    return [dict(row) for row in (await connection.execute(_PAGE, values)).mappings()]
