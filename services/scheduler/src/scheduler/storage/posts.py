"""Reading and writing single posts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, literal, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.tables import posts

DUPLICATE_WINDOW = timedelta(hours=24)

_SERIALISE = text(
    "SELECT pg_advisory_xact_lock(key) FROM"
    " (SELECT DISTINCT hashtextextended(pair, 0) AS key FROM unnest(CAST(:keys AS text[])) AS pair ORDER BY key) AS sorted"
)
# Made once: it is asked most often, and has many columns.
_SHOWN = select(posts).where(
    posts.c.id == bindparam("post_id"), posts.c.user_id == bindparam("owner_id"), posts.c.deleted_at.is_(None)
)


def to_post(row: Any) -> Post:
    """Return the post of a full row of the table."""
    return Post(*row)


async def insert_post(connection: AsyncConnection, values: dict[str, Any]) -> Post:
    """Store a new post and return it with the columns that the database filled in."""
    row = (await connection.execute(insert(posts).values(values).returning(*posts.c))).one()
    return to_post(row)


async def insert_posts(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> list[Post]:
    """Store new posts in one statement and return them in the order given; every row has the same columns."""
    found = await connection.execute(insert(posts).returning(*posts.c), list(rows))
    stored = {row.id: to_post(row) for row in found}
    return [stored[values["id"]] for values in rows]


async def get_post(connection: AsyncConnection, post_id: UUID, user_id: UUID) -> Post | None:
    """Return a user's post, None when there is none on the lists."""
    row = (await connection.execute(_SHOWN, {"post_id": post_id, "owner_id": user_id})).one_or_none()
    return None if row is None else to_post(row)


async def addresses_of(connection: AsyncConnection, post_id: UUID) -> tuple[str | None, list[str]] | None:
    """Return the addresses of a post's video and photos, None when there is no such post."""
    statement = select(posts.c.source_url, posts.c.photo_urls).where(posts.c.id == post_id)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else (row.source_url, list(row.photo_urls))


async def lock_post(connection: AsyncConnection, post_id: UUID, user_id: UUID | None = None) -> Post | None:
    """Return a post locked until the transaction ends; with `user_id`, only that user's and only when it is on the lists."""
    statement = select(posts).where(posts.c.id == post_id).with_for_update()
    if user_id is not None:
        statement = statement.where(posts.c.user_id == user_id, posts.c.deleted_at.is_(None))
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else to_post(row)


async def change_post(
    connection: AsyncConnection,
    post: Post,
    changes: dict[str, Any],
    *,
    new_video: bool = False,
    requested_at: datetime | None = None,
) -> Post:
    """Write `changes` into a post that this transaction has locked; its version grows by one.

    `new_video`: it is from now on that it is to publish its video for its account. `requested_at`: when its owner sent the request
    that is carried out by that.
    """
    values = {**changes, "version": post.version + 1, "updated_at": func.now()}
    if new_video:
        values["video_since"] = func.now()
    if requested_at is not None:
        values["requested_at"] = _newest(requested_at)
    statement = update(posts).where(posts.c.id == post.id, posts.c.version == post.version).values(values).returning(*posts.c)
    return to_post((await connection.execute(statement)).one())


async def note_request(connection: AsyncConnection, post: Post, requested_at: datetime) -> None:
    """Remember when its owner sent a request that changes nothing; an older one is not to change it either."""
    await connection.execute(update(posts).where(posts.c.id == post.id).values(requested_at=_newest(requested_at)))


def _newest(requested_at: datetime) -> ColumnElement[Any]:
    """Return the later of this moment and the one stored; it cannot be in the future, whatever the sender's clock says."""
    sent = literal(requested_at, posts.c.requested_at.type)
    return func.greatest(posts.c.requested_at, func.least(sent, func.clock_timestamp()))


async def note_given_up(connection: AsyncConnection, post: Post) -> None:
    """Remember that the scheduler itself wants the post's current attempt stopped; nothing else of the post changes."""
    await connection.execute(update(posts).where(posts.c.id == post.id).values(given_up_attempt=post.attempt))


async def note_cancel_asked(connection: AsyncConnection, post: Post, *, is_open: bool) -> None:
    """Remember whether the post's owner wants it stopped and has not been told what became of that; nothing else changes."""
    await connection.execute(update(posts).where(posts.c.id == post.id).values(cancel_asked=is_open))


async def note_sequence(connection: AsyncConnection, post: Post, sequence: int) -> None:
    """Remember the publisher's newest sequence of the current attempt; not a change that clients see."""
    await connection.execute(
        update(posts).where(posts.c.id == post.id, posts.c.publisher_sequence < sequence).values(publisher_sequence=sequence)
    )


async def serialise_duplicates(connection: AsyncConnection, pairs: Collection[tuple[UUID, str]]) -> None:
    """Make concurrent posts of the same video (sha256) for the same account wait for each other until the transaction ends.

    All locks are taken in one order, so that two batches with the same videos do not deadlock.
    """
    keys = [f"{account_id}:{sha256}" for account_id, sha256 in pairs]
    await connection.execute(_SERIALISE, {"keys": keys})


@dataclass(frozen=True, slots=True)
class Twin:
    """A post with the same video for the same account; `post_id` is None when its owner has taken it off the lists."""

    post_id: UUID | None


async def find_duplicates(
    connection: AsyncConnection, pairs: Collection[tuple[UUID, str]], user_id: UUID, *, other_than: UUID | None = None
) -> dict[tuple[UUID, str], Twin]:
    """Return posts of the last 24 hours with the same video (sha256) for the same account, by (account, sha256).

    Their time counts from when the post was created, ceased to be a draft, got this video or account, or was retried by its owner.
    Drafts, cancelled and failed ones do not count, nor does the post `other_than`. One that the user finds on the lists is
    preferred.
    """
    since = func.coalesce(posts.c.video_since, posts.c.created_at)
    is_shown = and_(posts.c.deleted_at.is_(None), posts.c.user_id == user_id)
    statement = (
        select(posts.c.account_id, posts.c.media_sha256, posts.c.id, is_shown.label("is_shown"))
        .where(
            tuple_(posts.c.account_id, posts.c.media_sha256).in_(list(pairs)),
            since > func.now() - DUPLICATE_WINDOW,
            posts.c.status.not_in(("draft", "cancelled", "failed")),
        )
        .order_by(is_shown, since)
    )
    if other_than is not None:
        statement = statement.where(posts.c.id != other_than)
    rows = await connection.execute(statement)
    return {(row.account_id, row.media_sha256): Twin(row.id if row.is_shown else None) for row in rows}
