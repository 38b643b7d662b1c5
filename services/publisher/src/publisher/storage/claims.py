"""What TikTok's webhooks claimed of publications: merged so that order and repeats do not matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.claims import EVIDENCE
from publisher.domain.job import State
from publisher.domain.matching import CLOCKS_DIFFER, PUBLISHED_WITHIN
from publisher.domain.outcomes import PublishOutcome
from publisher.storage.tables import publication_claims, publish_jobs
from tiktok.publish_webhooks import Claim, PublishClaim

MANY = 50
"""So many attempts are looked at at once; each looks by itself besides."""

_claims = publication_claims
_jobs = publish_jobs

_KEEP = text(
    """
    INSERT INTO publication_claims AS known (publish_id, open_id, publish_type, completed_at, delivered_at, failed_at,
                                             fail_reason, public_at, not_public_at, video_ids, heard_at)
    VALUES (:publish_id, :open_id, :publish_type, :completed_at, :delivered_at, :failed_at, :fail_reason, :public_at,
            :not_public_at, CAST(:video_ids AS text[]), clock_timestamp())
    ON CONFLICT (publish_id, open_id) DO UPDATE SET
        publish_type = coalesce(known.publish_type, excluded.publish_type),
        completed_at = greatest(known.completed_at, excluded.completed_at),
        delivered_at = greatest(known.delivered_at, excluded.delivered_at),
        failed_at = greatest(known.failed_at, excluded.failed_at),
        fail_reason = CASE WHEN known.failed_at >= excluded.failed_at THEN coalesce(known.fail_reason, excluded.fail_reason)
                           ELSE coalesce(excluded.fail_reason, known.fail_reason) END,
        public_at = greatest(known.public_at, excluded.public_at),
        not_public_at = greatest(known.not_public_at, excluded.not_public_at),
        video_ids = ARRAY(SELECT DISTINCT id FROM unnest(known.video_ids || excluded.video_ids) AS id ORDER BY id),
        heard_at = excluded.heard_at
    RETURNING coalesce(completed_at, delivered_at)
    """
)
_MOMENT_OF = {
    Claim.COMPLETE: "completed_at",
    Claim.DELIVERED: "delivered_at",
    Claim.FAILED: "failed_at",
    Claim.PUBLIC: "public_at",
    Claim.NOT_PUBLIC: "not_public_at",
}


@dataclass(frozen=True, slots=True)
class StoredClaims:
    """What was claimed of one publication. Times by TikTok's clock, None for what was not claimed."""

    publish_id: str
    publish_type: str | None
    completed_at: datetime | None
    delivered_at: datetime | None
    failed_at: datetime | None
    fail_reason: str | None
    public_at: datetime | None
    video_ids: tuple[str, ...]
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an attempt stands that a claim may be about."""

    id: UUID
    state: State
    outcome: PublishOutcome | None
    is_identified: bool


async def keep(connection: AsyncConnection, claim: PublishClaim, open_id: str, at: datetime) -> datetime:
    """Add a claim to what is known of its publication; `at` is TikTok's time of it.

    Returns when the publication came about as far as the claims tell, else `at`.
    """
    moments: dict[str, Any] = dict.fromkeys(_MOMENT_OF.values())
    moments[_MOMENT_OF[claim.claim]] = at
    values = {
        "publish_id": claim.publish_id,
        "open_id": open_id,
        "publish_type": claim.publish_type,
        "fail_reason": claim.fail_reason,
        "video_ids": [] if claim.video_id is None else [claim.video_id],
    }
    came_about_at: datetime | None = await connection.scalar(_KEEP, values | moments)
    return came_about_at or at


async def claims_of(connection: AsyncConnection, publish_id: str, open_id: str) -> StoredClaims | None:
    """Return what was claimed of a publication of this creator, None when nothing was."""
    statement = select(_claims).where(_claims.c.publish_id == publish_id, _claims.c.open_id == open_id)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _from(row)


async def jobs_of(connection: AsyncConnection, publish_id: str, open_id: str) -> Sequence[Standing]:
    """Return the attempts with this publication, kept from changing until the transaction ends."""
    statement = (
        select(_jobs.c.id, _jobs.c.state, _jobs.c.outcome, _jobs.c.tiktok_video_id)
        .where(_jobs.c.publish_id == publish_id, _jobs.c.open_id == open_id)
        .order_by(_jobs.c.id)
        .with_for_update()
    )
    rows = await connection.execute(statement)
    return [Standing(row.id, State.of_stored(row.state), row.outcome, row.tiktok_video_id is not None) for row in rows]


async def nameless_jobs(connection: AsyncConnection, open_id: str, came_about_at: datetime) -> Sequence[UUID]:
    """Return the creator's attempts, newest first, of unknown outcome whose init was never answered.

    Only those that may have made a publication that came about then.
    """
    asked_at = _jobs.c.irrevocable_since
    statement = select(_jobs.c.id).where(
        _jobs.c.open_id == open_id,
        _jobs.c.state == State.UNCONFIRMED.value,
        _jobs.c.publish_id.is_(None),
        asked_at.between(came_about_at - PUBLISHED_WITHIN, came_about_at + CLOCKS_DIFFER),
    )
    return list(await connection.scalars(statement.order_by(asked_at.desc()).limit(MANY)))


async def denied_attempts(connection: AsyncConnection, post_id: UUID, before: int) -> frozenset[int]:
    """Return the post's attempts before a number that count as not published, and of which a webhook said that something came."""
    statement = select(_jobs.c.attempt).where(_jobs.c.post_id == post_id, _jobs.c.attempt < before, is_denied())
    return frozenset(await connection.scalars(statement))


def is_denied() -> ColumnElement[bool]:
    """Return the condition that an attempt counts as not published, and that a webhook said that something came of it."""
    said_so = or_(*(_claims.c[_MOMENT_OF[claim]].is_not(None) for claim in EVIDENCE))
    publication = and_(_claims.c.publish_id == _jobs.c.publish_id, _claims.c.open_id == _jobs.c.open_id)
    disproved = [state.value for state in State if state.proves_nothing_published]
    claimed = select(_claims.c.publish_id).where(publication, said_so).correlate(_jobs)
    return and_(_jobs.c.state.in_(disproved), claimed.exists())


async def prune(connection: AsyncConnection, older_than: timedelta, *, limit: int) -> int:
    """Remove up to `limit` publications of which nothing was heard for the retention; returns how many."""
    old = (
        select(_claims.c.publish_id, _claims.c.open_id)
        .where(_claims.c.heard_at < func.now() - older_than)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    key = tuple_(_claims.c.publish_id, _claims.c.open_id)
    statement = _claims.delete().where(key.in_(select(old.c.publish_id, old.c.open_id)))
    return (await connection.execute(statement)).rowcount


def _from(row: "Row[Any]") -> StoredClaims:
    return StoredClaims(
        publish_id=row.publish_id,
        publish_type=row.publish_type,
        completed_at=row.completed_at,
        delivered_at=row.delivered_at,
        failed_at=row.failed_at,
        fail_reason=row.fail_reason,
        public_at=row.public_at,
        video_ids=tuple(row.video_ids),
        heard_at=row.heard_at,
    )
