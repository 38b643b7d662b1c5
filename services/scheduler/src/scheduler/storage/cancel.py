"""Posts that the publisher is to be asked to stop."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.posts import to_post
from scheduler.storage.tables import posts

ASK_AGAIN_AFTER = timedelta(seconds=5)


async def take_unwanted(connection: AsyncConnection, *, limit: int) -> Sequence[Post]:
    """Return posts to ask about, at most `limit`, exclusively: no other replica asks about them for 5 seconds."""
    chosen = (
        select(posts.c.id)
        .where(posts.c.cancel_at <= func.statement_timestamp())
        .order_by(posts.c.cancel_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    statement = (
        update(posts)
        .where(posts.c.id == chosen.c.id)
        .values(cancel_at=func.statement_timestamp() + ASK_AGAIN_AFTER)
        .returning(*posts.c)
    )
    return [to_post(row) for row in await connection.execute(statement)]


async def forget_cancel(connection: AsyncConnection, post_id: UUID) -> None:
    """Ask no more about a post."""
    await connection.execute(update(posts).where(posts.c.id == post_id).values(cancel_at=None))
