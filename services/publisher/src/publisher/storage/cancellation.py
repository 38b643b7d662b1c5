"""Cancelling, and other ends from outside: one conditional update decides between the end and what publishes."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from common.ids import uuid7
from publisher.domain.job import CancelState, State, Step, Transfer
from publisher.domain.outcomes import Reason
from publisher.storage.job import SEQUENCES_PER_ATTEMPT, JobRef, StoredEvent, ref_from
from publisher.storage.tables import lease_tokens, publish_jobs

FETCHING = "PROCESSING_DOWNLOAD"
"""TikTok's status of a fetch that is under way."""

_jobs = publish_jobs
_clock = func.clock_timestamp()


async def bury(connection: AsyncConnection, post_id: UUID, attempt: int) -> bool:
    """Write a tombstone that voids this attempt when it is told later; False when the attempt is known already.

    Waits for a transaction that is just storing the same attempt, so that of the two exactly one comes first.
    """
    statement = (
        insert(_jobs)
        .values(
            id=uuid7(),
            post_id=post_id,
            attempt=attempt,
            state=State.CANCELLED.value,
            step=Step.QUEUED.value,
            sequence=attempt * SEQUENCES_PER_ATTEMPT,
            finished_at=_clock,
        )
        .on_conflict_do_nothing(index_elements=["post_id", "attempt"])
        .returning(_jobs.c.id)
    )
    return (await connection.execute(statement)).one_or_none() is not None


async def cancel(connection: AsyncConnection, post_id: UUID, attempt: int) -> JobRef | None:
    """Cancel the job unless something may already be published by it; returns the cancelled job, None when it is too late.

    The holder of the lease is fenced out in the same statement: the checkpoint it needs before its first byte fails.
    """
    chosen = and_(_jobs.c.post_id == post_id, _jobs.c.attempt == attempt, _jobs.c.irrevocable_since.is_(None))
    row = (await connection.execute(_ending(chosen, State.CANCELLED))).one_or_none()
    return None if row is None else ref_from(row)


async def stop_later(connection: AsyncConnection, post_id: UUID, attempt: int) -> Sequence[JobRef]:
    """Cancel the attempts after one that was published, as far as it is certain that they cannot publish; returns those.

    Further than a request goes: chunks may be out, as long as the last one was not intended. Without it nothing is published,
    and the checkpoint it needs first fails.
    """
    chosen = _later_without_publication(post_id, attempt)
    rows = await connection.execute(_ending(chosen, State.CANCELLED))
    return [ref_from(row) for row in rows]


async def fail_later(connection: AsyncConnection, post_id: UUID, attempt: int, reason: Reason) -> Sequence[JobRef]:
    """Fail the attempts after one whose failure a webhook denied, as far as `stop_later` goes; returns those.

    Only what has begun: the gate decides about the rest. Not what a person's word lets run.
    """
    vouched = func.coalesce(_jobs.c.post["dismissed_attempts"].as_integer(), 0) >= attempt
    chosen = and_(_later_without_publication(post_id, attempt), _jobs.c.state == State.RUNNING.value, not_(vouched))
    rows = await connection.execute(_ending(chosen, State.FAILED, reason))
    return [ref_from(row) for row in rows]


def _later_without_publication(post_id: UUID, attempt: int) -> ColumnElement[bool]:
    without_last_chunk = and_(
        _jobs.c.transfer == Transfer.FILE.value, _jobs.c.last_chunk_intended.is_(False), _jobs.c.submitted_at.is_(None)
    )
    is_later = and_(_jobs.c.post_id == post_id, _jobs.c.attempt > attempt)
    return and_(is_later, or_(_jobs.c.irrevocable_since.is_(None), without_last_chunk))


def _ending(chosen: ColumnElement[bool], state: State, reason: Reason | None = None) -> ReturningUpdate[Any]:
    told = {} if reason is None else {"reason": asdict(reason)}
    return (
        update(_jobs)
        .where(chosen, _jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value]))
        .values(
            **told,
            state=state.value,
            lease_owner=None,
            lease_token=lease_tokens.next_value(),
            run_at=None,
            awaits_account=False,
            awaits_quota=None,
            finished_at=_clock,
            updated_at=_clock,
            sequence=_jobs.c.sequence + 1,
        )
        .returning(_jobs)
    )


async def want(connection: AsyncConnection, post_id: UUID, attempt: int) -> bool:
    """Note that a fetch of TikTok's is to be given up, and make its job due; whether TikTok may still be asked for that.

    Not when TikTok has refused that already, or is past fetching. Repeating it makes the job due once more, unless somebody is
    at it.
    """
    under_way = and_(
        _jobs.c.post_id == post_id,
        _jobs.c.attempt == attempt,
        _jobs.c.state == State.RUNNING.value,
        _jobs.c.transfer != Transfer.FILE.value,
        or_(_jobs.c.cancel_state.is_(None), _jobs.c.cancel_state != CancelState.REFUSED.value),
        or_(_jobs.c.tiktok_status.is_(None), _jobs.c.tiktok_status == FETCHING),
    )
    statement = (
        update(_jobs)
        .where(under_way)
        .values(
            cancel_state=func.coalesce(_jobs.c.cancel_state, CancelState.WANTED.value),
            polls=case((_jobs.c.cancel_state.is_(None), 0), else_=_jobs.c.polls),
            run_at=case((_jobs.c.lease_owner.is_(None), _clock), else_=_jobs.c.run_at),
            look_at_once=_jobs.c.lease_owner.is_not(None),
        )
        .returning(_jobs.c.id)
    )
    return (await connection.execute(statement)).one_or_none() is not None


async def published_nothing(connection: AsyncConnection, post_id: UUID, attempt: int) -> bool:
    """Whether the attempt has ended without publishing: cancelled before (a repeated request), or failed."""
    statement = _jobs.select().where(
        _jobs.c.post_id == post_id,
        _jobs.c.attempt == attempt,
        _jobs.c.state.in_([state.value for state in State if state.proves_nothing_published]),
    )
    return (await connection.execute(statement)).first() is not None


async def remember_event(connection: AsyncConnection, job_id: UUID, event: StoredEvent) -> None:
    """Keep the event that told of the cancellation, for sweeps."""
    await connection.execute(update(_jobs).where(_jobs.c.id == job_id).values(last_event=event.to_json()))
