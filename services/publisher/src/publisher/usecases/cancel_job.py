"""Cancelling an attempt: decided here and nowhere else, since only the publisher knows what has gone out."""

from enum import StrEnum
from uuid import UUID

from common.database import Transaction
from common.messaging.outbox import Outbox
from publisher.runner import events
from publisher.storage import cancellation, jobs, quota_line


class CancelOutcome(StrEnum):
    """The answer: nothing of the attempt was published and nothing will be, or that cannot be promised any more.

    `undecided`: TikTok may still give up its fetch and is asked to; its status decides.
    """

    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    UNDECIDED = "undecided"


async def cancel_job(tx: Transaction, post_id: UUID, attempt: int, *, outbox: Outbox, replica: str) -> CancelOutcome:
    """Cancel the attempt unless a byte (or a pull) may be out; one not heard of yet is voided for when it comes.

    Where TikTok fetches by itself, it is to be asked to give that up; then nothing is decided yet. Repeating the request gives
    the same answer, or one that has been decided meanwhile. An attempt that has failed published nothing either: it counts as
    cancelled.
    """
    if await cancellation.bury(tx.connection, post_id, attempt):
        return CancelOutcome.CANCELLED
    job = await cancellation.cancel(tx.connection, post_id, attempt)
    if job is None:
        if await cancellation.published_nothing(tx.connection, post_id, attempt):
            return CancelOutcome.CANCELLED
        wanted = await cancellation.want(tx.connection, post_id, attempt)
        return CancelOutcome.UNDECIDED if wanted else CancelOutcome.TOO_LATE
    event = events.cancelled(job, replica)
    await cancellation.remember_event(tx.connection, job.id, events.stored(event))
    await outbox.emit(tx, event, subject=str(post_id), context=job.context, sequence=job.sequence)
    await jobs.wake_later_attempts(tx.connection, post_id, attempt)
    await quota_line.move_up(tx.connection, job.account_id)
    return CancelOutcome.CANCELLED
