"""What becomes of an account's posts when the account changes: in sets, not one by one."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.posts import to_post
from scheduler.storage.tables import WAITING_SQL, posts

CHUNK = 1_000
"""How many posts one transaction changes: it holds the account's row, which creating a post needs."""


async def hold_posts(connection: AsyncConnection, account_id: UUID, reason: str) -> Sequence[Post]:
    """Take waiting posts of an account out of the due index, at most `CHUNK`; returns them as they are now."""
    return await _change(connection, account_id, f"{WAITING_SQL} AND NOT held", held=True, held_reason=reason)


async def rename_hold(connection: AsyncConnection, account_id: UUID, reason: str) -> int:
    """Give held posts of an account another reason (paused first, then expired), at most `CHUNK`; returns how many."""
    chosen = (
        select(posts.c.id)
        .where(posts.c.account_id == account_id, text(f"{WAITING_SQL} AND held"), posts.c.held_reason != reason)
        .order_by(posts.c.id)
        .limit(CHUNK)
        .with_for_update()
        .cte("chosen")
    )
    renamed = update(posts).where(posts.c.id == chosen.c.id).values(held_reason=reason)
    return (await connection.execute(renamed)).rowcount


async def release_posts(connection: AsyncConnection, account_id: UUID) -> Sequence[Post]:
    """Put held posts of an account back into the due index, at most `CHUNK`; returns them as they are now."""
    return await _change(connection, account_id, f"{WAITING_SQL} AND held", held=False, held_reason=None)


async def cancel_posts(connection: AsyncConnection, account_id: UUID) -> Sequence[Post]:
    """Cancel waiting posts of an account, at most `CHUNK`; returns them as they are now."""
    return await _change(
        connection,
        account_id,
        WAITING_SQL,
        status="cancelled",
        held=False,
        held_reason=None,
        next_attempt_at=None,
        ended_at=func.now(),
    )


async def want_cancelled(connection: AsyncConnection, account_id: UUID) -> int:
    """Note that the publisher is to be asked to stop this account's posts it has in hand; returns how many."""
    statement = (
        update(posts)
        .where(posts.c.account_id == account_id, text("status IN ('due', 'publishing', 'deferred')"))
        .values(cancel_at=func.now())
    )
    return (await connection.execute(statement)).rowcount


async def _change(connection: AsyncConnection, account_id: UUID, condition: str, **values: object) -> Sequence[Post]:
    chosen = (
        select(posts.c.id)
        .where(posts.c.account_id == account_id, text(condition))
        .order_by(posts.c.id)
        .limit(CHUNK)
        .with_for_update()
        .cte("chosen")
    )
    statement = (
        update(posts)
        .where(posts.c.id == chosen.c.id)
        .values(version=posts.c.version + 1, updated_at=func.now(), **values)
        .returning(*posts.c)
    )
    return [to_post(row) for row in await connection.execute(statement)]
