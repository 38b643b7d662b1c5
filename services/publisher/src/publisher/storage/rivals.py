"""Attempts whose video is not known, and videos that are known to be somebody's: so that none is taken for another one's."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal, not_, or_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.job import State, Step, Transfer
from publisher.domain.matching import HANDED_OVER_APART
from publisher.storage.job import Job, JobUnreadable, job_from
from publisher.storage.tables import publication_claims, publish_jobs

MANY = 200

_jobs = publish_jobs
_claims = publication_claims


async def unsettled(
    connection: AsyncConnection, account_id: UUID, open_id: str, *, but: UUID, about: datetime
) -> Sequence[Job] | None:
    """Return the creator's attempts, but for one, that may have published something of which the video is not known.

    Only those that were handed over so near to the moment `about` that what was handed over then and theirs can be taken for each
    other. None when there are too many to compare with, or one of them cannot be read.
    """
    ended = and_(
        _jobs.c.open_id == open_id,
        or_(
            _jobs.c.state == State.UNCONFIRMED.value,
            and_(_jobs.c.state == State.SUCCEEDED.value, _jobs.c.tiktok_video_id.is_(None)),
        ),
    )
    under_way = and_(
        _jobs.c.account_id == account_id,
        _jobs.c.run_at.is_not(None),
        _jobs.c.state == State.RUNNING.value,
        _jobs.c.irrevocable_since.is_not(None),
    )
    ids = union(select(_jobs.c.id).where(ended), select(_jobs.c.id).where(under_way)).subquery()
    statement = select(_jobs).where(_jobs.c.id.in_(select(ids.c.id)), _jobs.c.id != but, _near(about)).limit(MANY + 1)
    rows = (await connection.execute(statement)).all()
    if len(rows) > MANY:
        return None
    try:
        return [job_from(row) for row in rows]
    except JobUnreadable:
        return None


async def taken(connection: AsyncConnection, video_ids: Collection[str], open_id: str, *, but: Job) -> set[str]:
    """Return those of the videos that are known to be another attempt's, or that TikTok named for another publication."""
    known = select(_jobs.c.tiktok_video_id).where(_jobs.c.tiktok_video_id.in_(video_ids), _jobs.c.id != but.id)
    named = select(func.unnest(_claims.c.video_ids)).where(
        _claims.c.open_id == open_id, _claims.c.publish_id != literal(but.publish_id or "")
    )
    found = {*await connection.scalars(known), *await connection.scalars(named)}
    return found & set(video_ids)


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A publication that TikTok told of by webhook and that no attempt here is known to have made. Times by TikTok's clock."""

    publish_id: str
    publish_type: str | None
    told_at: datetime


async def unclaimed(connection: AsyncConnection, open_id: str, *, since: datetime) -> Sequence[Unclaimed]:
    """Return the creator's publications that came about since and that no attempt here is known to have made."""
    told_at = func.coalesce(_claims.c.completed_at, _claims.c.delivered_at)
    owned = select(_jobs.c.id).where(_jobs.c.publish_id == _claims.c.publish_id)
    statement = (
        select(_claims.c.publish_id, _claims.c.publish_type, told_at.label("told_at"))
        .where(_claims.c.open_id == open_id, told_at >= since, not_(owned.exists()))
        .order_by(told_at)
        .limit(MANY)
    )
    rows = await connection.execute(statement)
    return [Unclaimed(row.publish_id, row.publish_type, row.told_at) for row in rows]


async def nameless(connection: AsyncConnection, account_id: UUID, open_id: str, *, about: datetime) -> Sequence[UUID]:
    """Return the creator's attempts that may have published by an init that was never answered, and was made about then."""
    unanswered = and_(
        _jobs.c.publish_id.is_(None),
        _jobs.c.transfer != Transfer.FILE.value,
        _jobs.c.step == Step.INIT_INTENDED.value,
        _near(about),
    )
    lost = and_(_jobs.c.open_id == open_id, _jobs.c.state == State.UNCONFIRMED.value)
    asking = and_(_jobs.c.account_id == account_id, _jobs.c.run_at.is_not(None), _jobs.c.state == State.RUNNING.value)
    ids = union(select(_jobs.c.id).where(lost, unanswered), select(_jobs.c.id).where(asking, unanswered))
    return list(await connection.scalars(ids))


def _near(moment: datetime) -> ColumnElement[bool]:
    handed_over_at = func.coalesce(_jobs.c.irrevocable_since, moment)
    return handed_over_at.between(moment - HANDED_OVER_APART, moment + HANDED_OVER_APART)
