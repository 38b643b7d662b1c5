"""`PostDue` in batches: inbox, job rows and answers in one transaction, acknowledged after it."""

from collections.abc import Callable, Sequence

from common.contracts.envelope import Envelope
from common.contracts.registry import parse
from common.contracts.scheduler import PostDue
from common.database import Database, Transaction
from common.messaging.batches import BatchHandler
from common.messaging.inbox import Inbox
from common.messaging.outbox import Outbox
from common.messaging.topology import events_queue
from publisher.storage.intake import Order
from publisher.usecases.accept_due import accept_due

PREFETCH = 500
QUEUE = events_queue("publisher.post_due", PostDue.KEY, prefetch=PREFETCH)


def post_due_batches(
    database: Database, inbox: Inbox, outbox: Outbox, *, replica: str, wake: Callable[[], None]
) -> BatchHandler[PostDue]:
    """Return the batch handler of the intake queue; `wake` makes the runner look at once after a commit with new jobs."""

    async def handle(tx: Transaction, messages: Sequence[tuple[PostDue, Envelope]]) -> None:
        orders = [Order(post, envelope.context, envelope.data) for post, envelope in messages]
        await accept_due(tx, orders, outbox=outbox, replica=replica, wake=wake)

    return BatchHandler(QUEUE.name, database, inbox, decode=_decode, handle=handle)


def _decode(envelope: Envelope) -> PostDue:
    return parse(envelope, PostDue)
