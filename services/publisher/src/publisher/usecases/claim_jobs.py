"""Claiming due jobs: the lease, the gate between attempts, and the start."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from common.contracts.message import Event
from common.database import Transaction
from common.messaging.outbox import Outbox
from publisher.domain.attempts import SUPERSEDED, Gate, gate
from publisher.domain.claims import EARLIER_DENIED
from publisher.domain.job import Lane, State
from publisher.domain.outcomes import Defer, Fail, Reason
from publisher.domain.shares import Places
from publisher.domain.takeover import DEADLINE_PASSED, first_step
from publisher.domain.troubles import INTERNAL_ERROR
from publisher.runner import events
from publisher.storage import claims, jobs, looks, unreadable
from publisher.storage.job import Job, JobRef

WAIT_SECONDS = 30.0
WAITS_FOR_EARLIER = Reason(
    "earlier_attempt_open",
    "An earlier attempt of this post may still be published.",
    "Nothing to do; it goes on once that is known.",
)


UNREADABLE = Fail(
    Reason(
        INTERNAL_ERROR.code,
        "The job could not be read until the post's deadline had passed, because of a fault of ours; nothing was published.",
        "Publish it again with a later deadline; tell the operator if it fails again.",
    ),
    retryable=False,
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Jobs to run now, with the database's time of the claim (None when nothing was taken).

    `left_out`: more were due of a user than it may have now, and perhaps others' jobs behind them.
    """

    jobs: Sequence[Job]
    at: datetime | None
    left_out: bool


async def claim_jobs(
    tx: Transaction,
    lane: Lane,
    *,
    owner: str,
    lease: timedelta,
    limit: int,
    vouch_after: timedelta,
    outbox: Outbox,
    places: Places | None = None,
    head: int | None = None,
    look_past: bool = True,
) -> Claimed:
    """Take up to `limit` due jobs of the lane, shared out fairly (`jobs.claim`), and start those that have not been started.

    A job whose earlier attempt may still publish waits; one that came too late ends, and one that would repeat a failure which a
    webhook denied. The states of the other attempts are read
    after the claim: a later attempt either sees an earlier one or is seen by it. A person's word about an init without an answer
    counts `vouch_after` later.
    """
    claim = await jobs.claim(
        tx.connection, lane, owner=owner, lease=lease, limit=limit, places=places, head=head, look_past=look_past
    )
    claimed, at = claim.jobs, claim.at
    if at is None:
        return Claimed((), None, claim.left_out)
    for broken in claim.unreadable:
        await _put_off(tx, broken, at, owner, outbox)
    fresh = [job for job in claimed if job.checkpoint.state is State.QUEUED]
    if not fresh:
        return Claimed(claimed, at, claim.left_out)
    states = await jobs.states_of_posts(tx.connection, [job.post_id for job in fresh])
    ready = [job for job in claimed if job.checkpoint.state is not State.QUEUED]
    for job in sorted(fresh, key=lambda job: job.attempt):
        too_early = await _too_early(tx, job, vouch_after)
        denied = await claims.denied_attempts(tx.connection, job.post_id, job.attempt) if job.attempt > 1 else frozenset()
        opened = await _open(tx, job, states[job.post_id], too_early, denied, at, owner, outbox)
        states[job.post_id][job.attempt] = opened.checkpoint.state
        if opened.checkpoint.state is State.RUNNING:
            ready.append(opened)
    return Claimed(ready, at, claim.left_out)


async def _too_early(tx: Transaction, job: Job, vouch_after: timedelta) -> frozenset[int]:
    """Return the attempts that a person has dismissed before anybody could know of them, or that TikTok works on after all."""
    dismissed = min(job.post.dismissed_attempts, job.attempt - 1)
    if dismissed < 1:
        return frozenset()
    attempts = await looks.attempts_until(tx.connection, job.post_id, dismissed)
    return frozenset(one.attempt for one in attempts if one.too_early_until(vouch_after) or one.under_way_until())


async def _open(
    tx: Transaction,
    job: Job,
    states: dict[int, State],
    too_early: frozenset[int],
    denied: frozenset[int],
    at: datetime,
    replica: str,
    outbox: Outbox,
) -> Job:
    earlier = {attempt: state for attempt, state in states.items() if attempt < job.attempt}
    dismissed, later_exists = job.post.dismissed_attempts, max(states) > job.attempt
    match gate(earlier, later_exists=later_exists, dismissed=dismissed, too_early=too_early, denied=denied):
        case Gate.START:
            changes = {
                "state": State.RUNNING.value,
                "step": first_step(job.checkpoint).value,
                "started_at": at,
                "deferrals": 0,
                "reason": None,
            }
            return await _store(tx, job, changes, events.started(job, replica, at), outbox)
        case Gate.WAIT if at <= job.checkpoint.publish_before:
            return await _wait(tx, job, at, replica, outbox)
        case Gate.STOP:
            cancelled = {"state": State.CANCELLED.value}
            return await _store(tx, job, cancelled, events.stopped(job, replica), outbox, ended=True)
        case Gate.DENIED:
            return await _fail(tx, job, EARLIER_DENIED, replica, outbox)
        case Gate.SUPERSEDED:
            return await _fail(tx, job, SUPERSEDED, replica, outbox)
        case _:
            return await _fail(tx, job, DEADLINE_PASSED, replica, outbox)


async def _put_off(tx: Transaction, broken: JobRef, at: datetime, replica: str, outbox: Outbox) -> None:
    """Tell once that a row cannot be read, and look again later; end it when its deadline passed before anything was sent."""
    event: Event = events.failed(broken, replica, UNREADABLE)
    sequence = await unreadable.end(tx.connection, broken, events.stored(event))
    if sequence is None:
        defer = Defer(unreadable.WAIT.total_seconds(), INTERNAL_ERROR)
        event = events.deferred(broken, replica, defer, at + unreadable.WAIT)
        is_told = broken.reason is not None and broken.reason.get("code") == INTERNAL_ERROR.code
        sequence = await unreadable.put_off(tx.connection, broken, None if is_told else events.stored(event))
        if is_told:
            return
    else:
        await jobs.wake_later_attempts(tx.connection, broken.post_id, broken.attempt)
    await outbox.emit(tx, event, subject=str(broken.post_id), context=broken.context, sequence=sequence)


async def _wait(tx: Transaction, job: Job, at: datetime, replica: str, outbox: Outbox) -> Job:
    left = (job.checkpoint.publish_before - at).total_seconds() + 0.01
    defer = Defer(min(WAIT_SECONDS, left), WAITS_FOR_EARLIER)
    changes = {"deferrals": job.checkpoint.deferrals + 1, "reason": asdict(WAITS_FOR_EARLIER)}
    first = job.checkpoint.deferrals == 0
    event = events.deferred(job, replica, defer, at + timedelta(seconds=defer.seconds)) if first else None
    return await _store(tx, job, changes, event, outbox, release_in=defer.seconds)


async def _fail(tx: Transaction, job: Job, end: Fail, replica: str, outbox: Outbox) -> Job:
    changes = {"state": State.FAILED.value, "reason": asdict(end.reason)}
    failed = await _store(tx, job, changes, events.failed(job, replica, end), outbox, ended=True)
    await jobs.wake_later_attempts(tx.connection, job.post_id, job.attempt)
    return failed


async def _store(
    tx: Transaction,
    job: Job,
    changes: dict[str, Any],
    event: Event | None,
    outbox: Outbox,
    *,
    release_in: float | None = None,
    ended: bool = False,
) -> Job:
    stored = await jobs.save(
        tx.connection,
        job.id,
        job.lease_token,
        changes,
        event=None if event is None else events.stored(event),
        release_in=release_in,
        ended=ended,
    )
    if event is not None:
        await outbox.emit(tx, event, subject=str(job.post_id), context=job.context, sequence=stored.sequence)
    return replace(stored, account_version=job.account_version)
