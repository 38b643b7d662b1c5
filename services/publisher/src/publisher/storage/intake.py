"""New jobs, and what is already known of a post when it is told again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.clock import rfc3339
from common.contracts.context import Context
from common.contracts.scheduler import PostDue
from common.database import Driver
from common.ids import uuid7
from publisher.domain.job import State, Transfer
from publisher.storage.job import SEQUENCES_PER_ATTEMPT, StoredEvent
from publisher.storage.tables import publish_jobs

_jobs = publish_jobs

_INSERT = """
    INSERT INTO publish_jobs (id, post_id, attempt, post, user_id, account_id, correlation_id, causation_id, traceparent,
                              due_at, publish_before, transfer, total_bytes, lane, state, step, run_at, sequence)
    SELECT n.id, n.post_id, n.attempt, n.post, n.user_id, n.account_id, n.correlation_id, n.causation_id, n.traceparent,
           n.due_at, n.publish_before, n.transfer, n.total_bytes, 'send', 'queued', 'queued', clock_timestamp(),
           n.attempt::bigint * $2::bigint
    FROM jsonb_to_recordset(CAST($1::text AS jsonb)) AS n(
           id uuid, post_id uuid, attempt integer, post jsonb, user_id uuid, account_id uuid, correlation_id text,
           causation_id text, traceparent text, due_at timestamptz, publish_before timestamptz, transfer text,
           total_bytes bigint)
    WHERE NOT EXISTS (SELECT 1 FROM publish_jobs later WHERE later.post_id = n.post_id AND later.attempt > n.attempt)
    ORDER BY n.post_id, n.attempt
    ON CONFLICT (post_id, attempt) DO NOTHING
    RETURNING post_id, attempt
"""


@dataclass(frozen=True, slots=True)
class Order:
    """A post that is due, with the context of the message that told it.

    `data` is the message's body as it came, which is what is stored: nothing a newer producer added is lost.
    """

    post: PostDue
    context: Context
    data: dict[str, Any]

    @property
    def key(self) -> tuple[UUID, int]:
        """What makes a job unique."""
        return self.post.post_id, self.post.attempt


@dataclass(frozen=True, slots=True)
class Known:
    """A job that exists already: what was told of it last, and whether it is a tombstone waiting for its post."""

    id: UUID
    post_id: UUID
    attempt: int
    state: State
    sequence: int
    is_tombstone: bool
    last_event: StoredEvent | None


def transfer_of(post: PostDue) -> Transfer:
    """Return how the media reach TikTok."""
    if post.photo_urls:
        return Transfer.PHOTO
    return Transfer.PULL if post.transfer == "pull" else Transfer.FILE


async def insert(driver: Driver, orders: Sequence[Order]) -> set[tuple[UUID, int]]:
    """Store new jobs, due at once, and return those that are new.

    Not stored: attempts that exist (also as tombstones) and attempts lower than one that exists. Rows are inserted in key
    order, so that two batches with the same keys wait for each other instead of deadlocking.
    """
    rows = orjson.dumps([_row(order) for order in orders]).decode()
    stored = await driver.fetch(_INSERT, rows, SEQUENCES_PER_ATTEMPT)
    return {(row["post_id"], row["attempt"]) for row in stored}


async def known_of_posts(connection: AsyncConnection, post_ids: Collection[UUID]) -> dict[UUID, dict[int, Known]]:
    """Return every attempt that is known of the posts."""
    statement = select(_jobs).where(_jobs.c.post_id.in_(post_ids))
    known: dict[UUID, dict[int, Known]] = {}
    for row in await connection.execute(statement):
        known.setdefault(row.post_id, {})[row.attempt] = _known_from(row)
    return known


async def fill_tombstone(connection: AsyncConnection, tombstone: Known, order: Order, event: StoredEvent) -> int | None:
    """Write the post into the tombstone that voids it, with the event that tells so; returns its sequence.

    None when another message has filled it meanwhile.
    """
    row = _row(order)
    statement = (
        update(_jobs)
        .where(_jobs.c.id == tombstone.id, _jobs.c.post.is_(None))
        .values(
            post=row["post"],
            user_id=order.post.user_id,
            account_id=order.post.account_id,
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            traceparent=row["traceparent"],
            due_at=order.post.due_at,
            publish_before=order.post.publish_before,
            transfer=row["transfer"],
            total_bytes=row["total_bytes"],
            last_event=event.to_json(),
            sequence=_jobs.c.sequence + 1,
        )
        .returning(_jobs.c.sequence)
    )
    sequence: int | None = await connection.scalar(statement)
    return sequence


def _row(order: Order) -> dict[str, Any]:
    post, context = order.post, order.context
    return {
        "id": str(uuid7()),
        "post_id": str(post.post_id),
        "attempt": post.attempt,
        "post": order.data,
        "user_id": str(post.user_id),
        "account_id": str(post.account_id),
        "correlation_id": context.correlation_id,
        "causation_id": context.causation_id,
        "traceparent": context.traceparent,
        "due_at": rfc3339(post.due_at),
        "publish_before": rfc3339(post.publish_before),
        "transfer": transfer_of(post).value,
        "total_bytes": post.media.size_bytes if post.media is not None else 0,
    }


def _known_from(row: "Row[Any]") -> Known:
    event = row.last_event
    return Known(
        id=row.id,
        post_id=row.post_id,
        attempt=row.attempt,
        state=State.of_stored(row.state),
        sequence=row.sequence,
        is_tombstone=row.post is None,
        last_event=None if event is None else StoredEvent(event["key"], event["data"]),
    )
