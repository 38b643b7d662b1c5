"""Waiting posts that are to be checked again before their time comes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, TextClause, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.post import Post
from scheduler.storage.posts import to_post
from scheduler.storage.tables import WAITING_SQL, posts

UNCHECKED_SQL = f"{WAITING_SQL} AND NOT held AND checked_version <> version"
_now = func.statement_timestamp()


@dataclass(frozen=True, slots=True)
class PreflightLimits:
    """How long before the due time posts are checked, how many at once, and the pauses.

    What is due within `margin` is left alone: the due loop alone touches it. A post in hand is another replica's to take again
    after `lease`; one with a problem, or whose checks could not be made, is looked at again after `again_after`.
    """

    lead: timedelta = timedelta(minutes=15)
    margin: timedelta = timedelta(seconds=3)
    batch: int = 50
    parallel: int = 10
    lease: timedelta = timedelta(minutes=2)
    again_after: timedelta = timedelta(minutes=1)


async def take_unchecked(connection: AsyncConnection, limits: PreflightLimits) -> Sequence[Post]:
    """Return posts that are due soon and have not been found in order as they are, and keep other replicas from them.

    What nobody has looked at yet comes before what is looked at again: what cannot be checked now starves no other.
    Any change of a post gives it another version, so it is checked anew. No row stays locked: the due loop goes first.
    """
    head = (
        select(posts.c.id)
        .where(
            *_due_soon(limits),
            or_(posts.c.check_after.is_(None), posts.c.check_after <= _now),
        )
        .order_by(posts.c.check_after.is_not(None), posts.c.next_attempt_at)
        .limit(limits.batch)
        .with_for_update(skip_locked=True)
        .cte("head")
    )
    taking = update(posts).where(posts.c.id == head.c.id).values(check_after=_now + limits.lease)
    return [to_post(row) for row in await connection.execute(taking.returning(*posts.c))]


async def count_never_looked_at(connection: AsyncConnection, limits: PreflightLimits) -> int:
    """Return how many posts that are due soon nobody has looked at as they are."""
    statement = select(func.count()).select_from(posts).where(*_due_soon(limits), posts.c.check_after.is_(None))
    return int(await connection.scalar(statement) or 0)


def _due_soon(limits: PreflightLimits) -> tuple[ColumnElement[bool] | TextClause, ...]:
    return (
        text(UNCHECKED_SQL),
        posts.c.next_attempt_at > _now + limits.margin,
        posts.c.next_attempt_at <= _now + limits.lead,
    )


async def note_checked(connection: AsyncConnection, checked: Collection[Post]) -> None:
    """Note that these posts, as they were taken, are in order; not a change that clients see."""
    await _note(connection, checked, "checked_version = posts.version, check_after = NULL")


async def look_again(connection: AsyncConnection, again: Collection[Post], limits: PreflightLimits) -> None:
    """Have these posts, as they were taken, looked at again after a while."""
    await _note(connection, again, "check_after = statement_timestamp() + :after", after=limits.again_after)


async def _note(connection: AsyncConnection, noted: Collection[Post], what: str, **parameters: object) -> None:
    """Change posts that are still what they were; in the order of their ids, as all who change several."""
    if not noted:
        return
    statement = text(f"""
      WITH seen AS MATERIALIZED (
        SELECT posts.id FROM posts JOIN unnest(CAST(:ids AS uuid[]), CAST(:versions AS int[])) AS taken (id, version)
          ON posts.id = taken.id AND posts.version = taken.version
        ORDER BY posts.id FOR UPDATE OF posts SKIP LOCKED
      )
      UPDATE posts SET {what} FROM seen WHERE posts.id = seen.id
    """)  # noqa: S608 - `what` is one of two texts of this module
    ids, versions = [post.id for post in noted], [post.version for post in noted]
    await connection.execute(statement, {"ids": ids, "versions": versions, **parameters})
