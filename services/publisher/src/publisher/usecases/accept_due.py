"""Taking posts that are due: a job row each, and an answer for what is known already."""

from collections.abc import Callable, Sequence

from common.contracts.envelope import Envelope
from common.contracts.publisher import PublishCancelled
from common.contracts.registry import EVENTS
from common.database import Transaction
from common.messaging.outbox import Outbox
from publisher.domain.job import State
from publisher.runner.events import stored
from publisher.storage import intake
from publisher.storage.intake import Known, Order


async def accept_due(
    tx: Transaction, orders: Sequence[Order], *, outbox: Outbox, replica: str, wake: Callable[[], None]
) -> int:
    """Store a job for each new attempt, due at once, and return how many were new; `wake` runs after the commit.

    A known attempt is answered with the event its job told last, an attempt lower than a known one with the latest attempt's
    (sweep), and either with that of an attempt that was published, too. One that was cancelled before it was heard of is told as
    cancelled and never runs.
    """
    new = await intake.insert(tx.driver, list({order.key: order for order in orders}.values()))
    if new:
        tx.after_commit(wake)
    rest = [order for order in orders if order.key not in new]
    if rest:
        await _answer(tx, rest, outbox, replica)
    return len(new)


async def _answer(tx: Transaction, orders: Sequence[Order], outbox: Outbox, replica: str) -> None:
    known = await intake.known_of_posts(tx.connection, {order.post.post_id for order in orders})
    envelopes: list[Envelope] = []
    for order in orders:
        attempts = known[order.post.post_id]
        job = attempts.get(order.post.attempt) or attempts[max(attempts)]
        if job.is_tombstone and job.attempt == order.post.attempt:
            envelope = await _tell_cancelled(tx, job, order, outbox, replica)
        else:
            envelope = _told_last(job, order, outbox)
        published = next((other for other in attempts.values() if other.state is State.SUCCEEDED and other is not job), None)
        truth = None if published is None else _told_last(published, order, outbox)
        envelopes += [told for told in (truth, envelope) if told is not None]
    await outbox.emit_all(tx, envelopes)


async def _tell_cancelled(tx: Transaction, tombstone: Known, order: Order, outbox: Outbox, replica: str) -> Envelope | None:
    post = order.post
    event = PublishCancelled(
        post_id=post.post_id, attempt=post.attempt, job_id=tombstone.id, account_id=post.account_id, replica=replica
    )
    sequence = await intake.fill_tombstone(tx.connection, tombstone, order, stored(event))
    if sequence is None:
        return None
    return outbox.envelope(event, subject=str(post.post_id), context=order.context, sequence=sequence)


def _told_last(job: Known, order: Order, outbox: Outbox) -> Envelope | None:
    """Return the job's latest event once more, marked so, with the sequence it belongs to; None while it has told nothing yet."""
    last = job.last_event
    if last is None:
        return None
    event = EVENTS[last.key].model_validate({**last.data, "again": True})
    return outbox.envelope(event, subject=str(job.post_id), context=order.context, sequence=job.sequence)
