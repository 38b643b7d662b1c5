"""Waiting posts whose deadline has passed."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, case, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.claim import FailureText
from scheduler.storage.posts import to_post
from scheduler.storage.tables import WAITING_SQL, posts


async def expire_waiting(
    connection: AsyncConnection, deadline: FailureText, held: Mapping[str, FailureText], *, limit: int
) -> Sequence[Post]:
    """Mark waiting posts past `publish_before` as failed, at most `limit`, and return them as they are now.

    Held ones, which nobody claims, and those that are not claimed because claiming is paused. `held` says by the reason of a hold
    what such a post tells instead of `deadline`.
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
            error_message=_by_hold({code: told.message for code, told in held.items()}, deadline.message),
            error_hint=_by_hold({code: told.hint for code, told in held.items()}, deadline.hint),
        )
        .returning(*posts.c)
    )
    return [to_post(row) for row in await connection.execute(statement)]


def _by_hold(texts: Mapping[str, str], otherwise: str) -> ColumnElement[str]:
    return case(*((and_(posts.c.held, posts.c.held_reason == code), told) for code, told in texts.items()), else_=otherwise)
