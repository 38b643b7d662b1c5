"""What becomes of an account's posts when the account changes: in sets, not one by one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.outcome import ACCOUNT_DISCONNECTED
from scheduler.domain.post import Post
from scheduler.storage.posts import to_post
from scheduler.storage.tables import MOVING_SQL, WAITING_SQL, posts

CHUNK = 1_000
"""How many posts one transaction changes: it holds the account's row, which creating a post needs."""

_MAY_BE_STOPPED = f"({MOVING_SQL} AND (status <> 'processing' OR transfer = 'pull' OR photo_urls <> '[]'))"


async def hold_posts(connection: AsyncConnection, account_id: UUID, reason: str) -> Sequence[Post]:
    """Take waiting posts of an account out of the due index, at most `CHUNK`; returns them as they are now.

    Posts that are held already for another reason (paused first, then expired) get this one and are among them.
    """
    differs = posts.c.held_reason.is_distinct_from(reason)
    return await _change(connection, account_id, text(WAITING_SQL), differs, held=True, held_reason=reason)


async def release_posts(connection: AsyncConnection, account_id: UUID) -> Sequence[Post]:
    """Put held posts of an account back into the due index, at most `CHUNK`; returns them as they are now."""
    return await _change(connection, account_id, text(f"{WAITING_SQL} AND held"), held=False, held_reason=None)


async def cancel_posts(connection: AsyncConnection, account_id: UUID, *, before: datetime | None = None) -> Sequence[Post]:
    """Cancel waiting posts of a disconnected account, at most `CHUNK`; returns them as they are now.

    With `before` only older ones.
    """
    return await _change(
        connection,
        account_id,
        text(WAITING_SQL),
        *_made_before(before),
        status="cancelled",
        held=False,
        held_reason=None,
        next_attempt_at=None,
        ended_at=func.now(),
        **ACCOUNT_DISCONNECTED.columns(),
    )


async def want_cancelled(connection: AsyncConnection, account_id: UUID, *, before: datetime | None = None) -> int:
    """Note that the publisher is to be asked to stop this account's posts it has in hand; returns how many.

    Processed ones are among them where TikTok fetches by itself; others are too late. With `before` only what was made earlier.
    """
    statement = (
        update(posts)
        .where(posts.c.account_id == account_id, text(_MAY_BE_STOPPED), *_made_before(before))
        .values(cancel_at=func.now())
    )
    return (await connection.execute(statement)).rowcount


def _made_before(moment: datetime | None) -> list[ColumnElement[bool]]:
    return [] if moment is None else [posts.c.created_at < moment]


async def _change(
    connection: AsyncConnection,
    account_id: UUID,
    *conditions: ColumnElement[bool] | TextClause,
    **values: object,
) -> Sequence[Post]:
    chosen = (
        select(posts.c.id)
        .where(posts.c.account_id == account_id, *conditions)
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
