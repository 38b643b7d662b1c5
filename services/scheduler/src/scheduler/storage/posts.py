"""Reading and writing single posts."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.tables import posts

DUPLICATE_WINDOW = timedelta(hours=24)


def to_post(row: Any) -> Post:
    """Return the post of a full row of the table."""
    return Post(*row)


async def insert_post(connection: AsyncConnection, values: dict[str, Any]) -> Post:
    """Store a new post and return it with the columns that the database filled in."""
    row = (await connection.execute(insert(posts).values(values).returning(*posts.c))).one()
    return to_post(row)


async def get_post(connection: AsyncConnection, post_id: UUID, user_id: UUID) -> Post | None:
    """Return a user's post, None when there is none on the lists."""
    statement = select(posts).where(posts.c.id == post_id, posts.c.user_id == user_id, posts.c.deleted_at.is_(None))
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else to_post(row)


async def lock_post(connection: AsyncConnection, post_id: UUID, user_id: UUID | None = None) -> Post | None:
    """Return a post locked until the transaction ends; with `user_id`, only that user's and only when it is on the lists."""
    statement = select(posts).where(posts.c.id == post_id).with_for_update()
    if user_id is not None:
        statement = statement.where(posts.c.user_id == user_id, posts.c.deleted_at.is_(None))
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else to_post(row)


async def change_post(connection: AsyncConnection, post: Post, changes: dict[str, Any]) -> Post:
    """Write `changes` into a post that this transaction has locked; its version grows by one."""
    statement = (
        update(posts)
        .where(posts.c.id == post.id, posts.c.version == post.version)
        .values(version=post.version + 1, updated_at=func.now(), **changes)
        .returning(*posts.c)
    )
    return to_post((await connection.execute(statement)).one())


async def note_sequence(connection: AsyncConnection, post: Post, sequence: int) -> None:
    """Remember the publisher's newest sequence of the current attempt; not a change that clients see."""
    await connection.execute(
        update(posts).where(posts.c.id == post.id, posts.c.publisher_sequence < sequence).values(publisher_sequence=sequence)
    )


async def serialise_duplicates(connection: AsyncConnection, account_id: UUID, sha256: str) -> None:
    """Make concurrent creates of the same video for the same account wait for each other until the transaction ends."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"{account_id}:{sha256}"}
    )


async def find_duplicate(connection: AsyncConnection, account_id: UUID, sha256: str) -> UUID | None:
    """Return a post of the last 24 hours with the same video for the same account.

    Drafts, cancelled and failed ones do not count.
    """
    statement = (
        select(posts.c.id)
        .where(
            posts.c.account_id == account_id,
            posts.c.media_sha256 == sha256,
            posts.c.created_at > func.now() - DUPLICATE_WINDOW,
            posts.c.status.not_in(("draft", "cancelled", "failed")),
        )
        .order_by(posts.c.created_at.desc())
        .limit(1)
    )
    found: UUID | None = await connection.scalar(statement)
    return found
