"""An attempt turned out to be published: later ones that cannot have published anything are stopped with the same commit."""

from common.database import Transaction
from publisher.runner import events
from publisher.runner.tools import Tools
from publisher.storage import cancellation, quota_line
from publisher.storage.job import Job


async def stop_later_attempts(tx: Transaction, tools: Tools, published: Job) -> None:
    """Cancel them and tell so. One whose last byte may be out goes on to its end: nothing can take it back."""
    for job in await cancellation.stop_later(tx.connection, published.post_id, published.attempt):
        event = events.stopped(job, tools.replica)
        await cancellation.remember_event(tx.connection, job.id, events.stored(event))
        await tools.outbox.emit(tx, event, subject=str(job.post_id), context=job.context, sequence=job.sequence)
        await quota_line.move_up(tx.connection, job.account_id)
