"""Waiting posts whose deadline has passed."""

from collections.abc import Sequence

from sqlalchemy import case, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.claim import FailureText
from scheduler.storage.posts import to_post
from scheduler.storage.tables import WAITING_SQL, posts


async def expire_waiting(connection: AsyncConnection, deadline: FailureText, *, limit: int) -> Sequence[Post]:
    """Mark waiting posts past `publish_before` as failed, at most `limit`, and return them as they are now.

    Held ones, which nobody claims, and those that are not claimed because claiming is paused.
    """
    overdue = (
        select(posts.c.id)
        .where(text(WAITING_SQL), posts.c.publish_before <= func.statement_timestamp())
        .order_by(posts.c.publish_before)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("overdue")
    )
    statement = (
        update(posts)
        .where(posts.c.id == overdue.c.id)
        .values(
            version=posts.c.version + 1,
            updated_at=func.now(),
            status="failed",
            due_at=case((posts.c.held, posts.c.due_at), else_=posts.c.next_attempt_at),
            held=False,
            held_reason=None,
            next_attempt_at=None,
            ended_at=func.now(),
            error_code=deadline.code,
            error_message=deadline.message,
            error_hint=deadline.hint,
        )
        .returning(*posts.c)
    )
    return [to_post(row) for row in await connection.execute(statement)]
