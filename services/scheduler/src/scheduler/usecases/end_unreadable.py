"""Moving posts whose row makes no question to the publisher any more: ended, with the reason, instead of being silent for ever."""

from datetime import datetime, timedelta
from uuid import UUID

from common.database.database import Database, Transaction
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import PublisherAway, PublisherClient, PublisherUndecided
from scheduler.domain.outcome import Reason
from scheduler.domain.post import Post
from scheduler.domain.post_states import MOVING, Happening, Kind, transition
from scheduler.storage.clock import database_now
from scheduler.storage.posts import change_post, lock_post
from scheduler.usecases.post_events import emit_state, own_context

OVER_AFTER = timedelta(hours=1)
"""So long after its deadline, and after the last news of it, what never began is over: stopping it breaks off nothing that would
still be published."""
HOPELESS_AFTER = timedelta(hours=48)
"""By then the publisher has told an end of all that it had begun; what is not here now does not come by itself."""

NOT_PUBLISHED = Reason(
    "internal_error",
    "The post could not be followed to its end because of a fault of ours; nothing was published.",
    "Create the post again; tell the operator if it fails again.",
)
UNKNOWN = Reason(
    "internal_error",
    "Whether the post was published could not be found out because of a fault of ours.",
    "Look at TikTok and confirm the post if it is there; else create it again. Tell the operator.",
)


async def end_unreadable(database: Database, outbox: Outbox, publisher: PublisherClient, post_id: UUID) -> None:
    """End a moving post that cannot be asked about by message.

    An hour after its deadline the publisher is asked to stop it: by its word that nothing was published the post is failed. Where
    it is too late for that the publisher tells the end by itself; without any for two days the post is unconfirmed. Evidence of
    publication counts at any time after that, too.
    """
    async with database.transaction() as tx:
        post = await lock_post(tx.connection, post_id)
        silent = _silence(post, await database_now(tx.connection))
    if post is None or silent < OVER_AFTER:
        return
    try:
        cancelled = await publisher.cancel(post.id, post.attempt)
    except PublisherUndecided:
        cancelled = False
    except PublisherAway:
        return
    if cancelled or silent >= HOPELESS_AFTER:
        async with database.transaction() as tx:
            await _end(tx, outbox, post, is_proven=cancelled)


async def _end(tx: Transaction, outbox: Outbox, seen: Post, *, is_proven: bool) -> None:
    post = await lock_post(tx.connection, seen.id)
    kind, reason = (Kind.FAILED_FINAL, NOT_PUBLISHED) if is_proven else (Kind.LOST, UNKNOWN)
    state = None if post is None else transition(post.standing, Happening(kind, seen.attempt))
    if post is None or state is None:
        return
    ended = {"forecast_at": None, "sweep_at": None, "cancel_at": None, "ended_at": await database_now(tx.connection)}
    changed = await change_post(tx.connection, post, {"status": state.value, **ended, **reason.columns()})
    await emit_state(tx, outbox, changed, own_context(changed))


def _silence(post: Post | None, now: datetime) -> timedelta:
    """Return for how long nothing can have begun and nothing was heard; none for a post that does not move."""
    if post is None or post.state not in MOVING:
        return timedelta(0)
    return now - max(moment for moment in (post.updated_at, post.forecast_at, post.publish_before) if moment is not None)
