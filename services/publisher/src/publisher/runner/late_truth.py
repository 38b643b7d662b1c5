"""An attempt turned out to be published, or may have been: later ones that cannot have published end with the same commit."""

from common.contracts.message import Event
from common.database import Transaction
from publisher.domain.claims import EARLIER_DENIED
from publisher.runner import events
from publisher.runner.tools import Tools
from publisher.storage import cancellation, claims, quota_line
from publisher.storage.job import Job, JobRef


async def stop_later_attempts(tx: Transaction, tools: Tools, published: Job) -> None:
    """Cancel them and tell so. One whose last byte may be out goes on to its end: nothing can take it back."""
    for job in await cancellation.stop_later(tx.connection, published.post_id, published.attempt):
        await _tell(tx, tools, job, events.stopped(job, tools.replica))


async def end_repeats(tx: Transaction, tools: Tools, failed: Job) -> None:
    """End later attempts that a webhook makes doubtful: it says that something came of this one, which counts as not published.

    Whatever passed the gate before the webhook was heard is met here, by the look that it leads to: what passes it afterwards sees
    the webhook. A person's word lets an attempt go on.
    """
    if failed.attempt not in await claims.denied_attempts(tx.connection, failed.post_id, failed.attempt + 1):
        return
    for job in await cancellation.fail_later(tx.connection, failed.post_id, failed.attempt, EARLIER_DENIED.reason):
        await _tell(tx, tools, job, events.failed(job, tools.replica, EARLIER_DENIED))


async def _tell(tx: Transaction, tools: Tools, job: JobRef, event: Event) -> None:
    await cancellation.remember_event(tx.connection, job.id, events.stored(event))
    await tools.outbox.emit(tx, event, subject=str(job.post_id), context=job.context, sequence=job.sequence)
    await quota_line.move_up(tx.connection, job.account_id)
