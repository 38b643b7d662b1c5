"""Publish jobs: claimed, leased and checkpointed.

A replica owns a job from its claim until the lease ends by the database's clock. Every write of the owner carries the fencing
token of its claim, so that a replica that lost the job stores nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import BigInteger, Row, Uuid, and_, case, cast, column, func, null, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.job import Lane, State, Step, Transfer
from publisher.domain.shares import Places, share_out
from publisher.errors import LeaseLost
from publisher.storage import due_jobs
from publisher.storage.job import Job, JobRef, JobUnreadable, StoredEvent, job_from
from publisher.storage.tables import accounts, lease_tokens, publish_jobs

_log = structlog.get_logger(__name__)

_jobs = publish_jobs
_clock = func.clock_timestamp()
_account_version = select(accounts.c.version).where(accounts.c.id == _jobs.c.account_id).scalar_subquery()


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs taken, earliest first, rows taken that make no job, and the database's time (None: nothing was taken).

    `left_out`: more were due of a user than it may have now, and perhaps others' jobs behind them.
    """

    jobs: Sequence[Job]
    unreadable: Sequence[JobRef]
    at: datetime | None
    left_out: bool


async def claim(
    connection: AsyncConnection,
    lane: Lane,
    *,
    owner: str,
    lease: timedelta,
    limit: int,
    places: Places | None = None,
    head: int | None = None,
    look_past: bool = True,
) -> Claim:
    """Take up to `limit` due jobs of a lane, earliest first, sharing the `places` out between users (None: to anyone).

    The limit is shared as the places are: where a claim takes its time, and its jobs end quickly, a user with many would have every
    claim, and never all its places. Only the first `head` due jobs are looked at (None: as many as may be taken); with `look_past`,
    the rest of the limit is filled from behind those whose users have their share. A job whose lease has ended is due: whoever held
    it is fenced out from here on. Claims of other replicas are skipped, never waited for. A row that cannot be read is logged; it
    stops no other.
    """
    batch = None if places is None else Places(limit)
    places = places or Places(2 * limit)
    head = min(limit, head or limit)
    due = await due_jobs.earliest(connection, lane, limit=head)
    chosen = share_out(due, places, batch)
    taken = {job.id for job in chosen}
    left_out = not places.crowded.isdisjoint(job.user_id for job in due if job.id not in taken)
    if len(chosen) < len(due) and look_past and len(due) == head and len(chosen) < limit:
        seen = places.crowded | {job.user_id for job in due}
        others = await due_jobs.of_others(connection, lane, seen, limit=limit - len(chosen))
        chosen += share_out(others, places)
    if not chosen:
        return Claim((), (), None, left_out)
    since = {job.id: job.since for job in chosen}
    statement = (
        update(_jobs)
        .where(_jobs.c.id == func.any(cast(list(since), ARRAY(Uuid))))
        .values(
            lease_owner=owner,
            last_owner=owner,
            lease_token=lease_tokens.next_value(),
            run_at=_clock + lease,
            awaits_account=False,
            look_at_once=False,
        )
        .returning(_jobs, _clock.label("claimed_at"), _account_version.label("account_version"))
    )
    rows = sorted((await connection.execute(statement)).all(), key=lambda row: since[row.id])
    return _claim_of(rows, left_out)


def _claim_of(rows: "Sequence[Row[Any]]", left_out: bool) -> Claim:
    readable: list[Job] = []
    unreadable: list[JobRef] = []
    for row in rows:
        try:
            readable.append(job_from(row, account_version=row.account_version or 0))
        except JobUnreadable as error:
            _log.exception("job_unreadable", job_id=str(row.id))
            unreadable.append(error.ref)
    return Claim(readable, unreadable, rows[0].claimed_at, left_out)


async def seconds_until_due(connection: AsyncConnection, lane: Lane) -> float | None:
    """Return the seconds until the lane's next job is due (negative: overdue), None when there is none."""
    earliest = select(func.min(_jobs.c.run_at)).where(_jobs.c.lane == lane.value, _jobs.c.run_at.is_not(None))
    moment = earliest.scalar_subquery()
    seconds = await connection.scalar(select(func.extract("epoch", moment - _clock)))
    return None if seconds is None else float(seconds)


async def save(
    connection: AsyncConnection,
    job_id: UUID,
    lease_token: int,
    changes: Mapping[str, Any],
    *,
    event: StoredEvent | None = None,
    release_in: float | None = None,
    ended: bool = False,
) -> Job:
    """Store a checkpoint under the lease's fencing token and return the job as stored.

    `release_in` hands the lease back with the job due in so many seconds; `ended` notes the end and hands it back, for good
    unless `release_in` asks for another look. When news came meanwhile (`look_at_once`), it is due at once. Raises `LeaseLost`
    when another claim or a cancellation has taken the job: then nothing is stored.
    """
    values: dict[str, Any] = {**changes, "sequence": _jobs.c.sequence + 1, "updated_at": _clock}
    if event is not None:
        values["last_event"] = event.to_json()
    if ended:
        values["finished_at"] = func.coalesce(_jobs.c.finished_at, _clock)
    if ended or release_in is not None:
        due = null() if release_in is None else _clock + timedelta(seconds=release_in)
        values["lease_owner"] = None
        values["run_at"] = case((_jobs.c.look_at_once, _clock), else_=due)
    statement = (
        update(_jobs)
        .where(_jobs.c.id == job_id, _jobs.c.lease_token == lease_token, _jobs.c.lease_owner.is_not(None))
        .values(values)
        .returning(_jobs)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise LeaseLost
    return job_from(row)


async def keep_init_answer(connection: AsyncConnection, job_id: UUID, publish_id: str, log_id: str | None) -> None:
    """Store the publication that the job's init made, under no lease: only where that init is the newest that is known of it."""
    statement = (
        update(_jobs)
        .where(
            _jobs.c.id == job_id,
            _jobs.c.transfer != Transfer.FILE.value,
            _jobs.c.step == Step.INIT_INTENDED.value,
            _jobs.c.publish_id.is_(None),
        )
        .values(publish_id=publish_id, init_log_id=log_id, step=Step.INIT_DONE.value, lane=Lane.FOLLOW.value)
    )
    await connection.execute(statement)


async def renew(connection: AsyncConnection, leases: Sequence[tuple[UUID, int, int]], *, lease: timedelta) -> set[UUID]:
    """Prolong unexpired leases given as (job, token, streamed bytes) and return the jobs renewed.

    A lease that has ended is never renewed, even when nobody has taken the job yet. A row that is locked is skipped, never
    waited for: `unexpired` tells whether it is still held.
    """
    if not leases:
        return set()
    unnested = func.unnest(
        cast([job_id for job_id, _, _ in leases], ARRAY(Uuid)),
        cast([token for _, token, _ in leases], ARRAY(BigInteger)),
        cast([streamed for _, _, streamed in leases], ARRAY(BigInteger)),
    )
    held = unnested.table_valued(
        column("job_id", Uuid), column("token", BigInteger), column("streamed", BigInteger)
    ).render_derived(name="held")
    free = (
        select(_jobs.c.id, held.c.streamed)
        .join(held, and_(_jobs.c.id == held.c.job_id, _jobs.c.lease_token == held.c.token))
        .where(_jobs.c.lease_owner.is_not(None), _jobs.c.run_at > func.now())
        .with_for_update(of=_jobs, skip_locked=True)
        .cte("free")
    )
    statement = (
        update(_jobs)
        .where(_jobs.c.id == free.c.id)
        .values(run_at=_clock + lease, streamed_bytes=free.c.streamed)
        .returning(_jobs.c.id)
    )
    return set(await connection.scalars(statement))


async def unexpired(connection: AsyncConnection, leases: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Return the jobs whose lease given as (job, token) still holds, locked rows included; waits for no lock."""
    statement = select(_jobs.c.id).where(
        tuple_(_jobs.c.id, _jobs.c.lease_token).in_(leases), _jobs.c.lease_owner.is_not(None), _jobs.c.run_at > _clock
    )
    return set(await connection.scalars(statement))


async def hand_back(connection: AsyncConnection, leases: Sequence[tuple[UUID, int]]) -> int:
    """Give up leases at once: the jobs are due now for any replica. Returns how many were still held."""
    if not leases:
        return 0
    statement = (
        update(_jobs)
        .where(tuple_(_jobs.c.id, _jobs.c.lease_token).in_(leases), _jobs.c.lease_owner.is_not(None))
        .values(lease_owner=None, run_at=_clock)
    )
    return (await connection.execute(statement)).rowcount


async def states_of_posts(connection: AsyncConnection, post_ids: Sequence[UUID]) -> dict[UUID, dict[int, State]]:
    """Return the state of every known attempt of the posts; one that cannot be read counts as running."""
    statement = select(_jobs.c.post_id, _jobs.c.attempt, _jobs.c.state).where(_jobs.c.post_id.in_(post_ids))
    states: dict[UUID, dict[int, State]] = {}
    for row in await connection.execute(statement):
        states.setdefault(row.post_id, {})[row.attempt] = State.of_stored(row.state)
    return states


async def wake_later_attempts(connection: AsyncConnection, post_id: UUID, attempt: int) -> bool:
    """Make waiting later attempts of a post due now; returns whether there were any."""
    statement = (
        update(_jobs)
        .where(
            _jobs.c.post_id == post_id,
            _jobs.c.attempt > attempt,
            _jobs.c.state == State.QUEUED.value,
            _jobs.c.lease_owner.is_(None),
        )
        .values(run_at=_clock)
    )
    return (await connection.execute(statement)).rowcount > 0


async def latest_of_post(connection: AsyncConnection, post_id: UUID) -> Job | None:
    """Return the job of the post's latest attempt; a tombstone is none. Raises `JobUnreadable`."""
    known = and_(_jobs.c.post_id == post_id, _jobs.c.post.is_not(None))
    statement = select(_jobs).where(known).order_by(_jobs.c.attempt.desc()).limit(1)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else job_from(row)


async def prune(connection: AsyncConnection, older_than: timedelta, *, limit: int) -> int:
    """Remove up to `limit` jobs that ended before the retention and have nothing due; returns how many.

    A job is kept while the same PostDue, told again, could still start: until its deadline has passed by the retention, too. One
    whose outcome is unknown is never forgotten: later attempts must see it.
    """
    before = func.now() - older_than
    old = (
        select(_jobs.c.id)
        .where(
            _jobs.c.finished_at < before,
            or_(_jobs.c.publish_before.is_(None), _jobs.c.publish_before < before),
            _jobs.c.state != State.UNCONFIRMED.value,
            _jobs.c.run_at.is_(None),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await connection.execute(_jobs.delete().where(_jobs.c.id.in_(old)))).rowcount
