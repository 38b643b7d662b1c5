"""Ask about posts that have stayed in a moving state for too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import ValidationError

from common.contracts.envelope import Envelope
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.holds import HOLDS
from scheduler.storage.claim import DuePost, FailureText
from scheduler.storage.deadlines import expire_waiting
from scheduler.storage.sweep import SweepLimits, take_overdue
from scheduler.usecases.post_due_event import DEADLINE_PASSED, broken_fields, due_envelope
from scheduler.usecases.post_events import emit_state, own_context

_HELD_TOO_LONG = {hold.code: FailureText(DEADLINE_PASSED.code, hold.too_late, DEADLINE_PASSED.hint) for hold in HOLDS.values()}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many posts were past their deadline, and those among them that cannot be asked about."""

    posts: int
    unreadable: Sequence[UUID]


async def sweep_posts(tx: Transaction, outbox: Outbox, limits: SweepLimits) -> Swept:
    """Emit `PostDue` again, with the same attempt, for moving posts past their deadline.

    The publisher answers an attempt it knows with that job's latest event; without its answer nothing changes.
    """
    overdue = await take_overdue(tx.connection, limits)
    questions = {post.id: _question(outbox, post) for post in overdue}
    await outbox.emit_all(tx, [question for question in questions.values() if question is not None])
    return Swept(len(overdue), [post_id for post_id, question in questions.items() if question is None])


def _question(outbox: Outbox, post: DuePost) -> Envelope | None:
    """Return the question, None when the row makes none: it may be published by now, so it is not failed at once."""
    try:
        return due_envelope(outbox, post, again=True)
    except ValidationError as error:
        _log.error("moving_post_makes_no_event", post_id=str(post.id), fields=broken_fields(error))
        return None


async def expire_posts(tx: Transaction, outbox: Outbox, *, limit: int) -> int:
    """Fail waiting posts whose deadline has passed: none waits silently for an account, or for a publisher that stays away."""
    expired = await expire_waiting(tx.connection, DEADLINE_PASSED, _HELD_TOO_LONG, limit=limit)
    for post in expired:
        await emit_state(tx, outbox, post, own_context(post))
    return len(expired)
