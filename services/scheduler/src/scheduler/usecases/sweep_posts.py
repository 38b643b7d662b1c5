"""Ask about posts that have stayed in a moving state for too long."""

from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.storage.deadlines import expire_waiting
from scheduler.storage.sweep import SweepLimits, take_overdue
from scheduler.usecases.post_due_event import DEADLINE_PASSED, due_envelope
from scheduler.usecases.post_events import emit_state, own_context


async def sweep_posts(tx: Transaction, outbox: Outbox, limits: SweepLimits) -> int:
    """Emit `PostDue` again, with the same attempt, for moving posts past their deadline; returns how many.

    The publisher answers an attempt it knows with that job's latest event; without its answer nothing changes.
    """
    overdue = await take_overdue(tx.connection, limits)
    await outbox.emit_all(tx, [due_envelope(outbox, post) for post in overdue])
    return len(overdue)


async def expire_posts(tx: Transaction, outbox: Outbox, *, limit: int) -> int:
    """Fail waiting posts whose deadline has passed: none waits silently for an account, or for a publisher that stays away."""
    expired = await expire_waiting(tx.connection, DEADLINE_PASSED, limit=limit)
    for post in expired:
        await emit_state(tx, outbox, post, own_context(post))
    return len(expired)
