"""Moving posts whose row makes no question to the publisher any more: ended, with the reason, instead of being silent for ever."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from common.database.database import Database, Transaction
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import PublisherAway, PublisherClient, PublisherUndecided
from scheduler.domain.outcome import GIVEN_UP, Reason
from scheduler.domain.post import Post
from scheduler.domain.post_states import MOVING, Happening, Kind, transition
from scheduler.storage.clock import database_now
from scheduler.storage.posts import change_post, lock_post, note_given_up
from scheduler.usecases.post_events import emit_state, own_context

OVER_AFTER = timedelta(hours=1)
"""So long after its deadline, and after the last news of it, what never began is over: stopping it breaks off nothing that would
still be published."""
AT_ONCE = 10
"""So many of them the publisher is asked about at the same time: a batch takes no longer than a step may."""

UNKNOWN = Reason(
    "internal_error",
    "Whether the post was published could not be found out because of a fault of ours.",
    "Look at TikTok and confirm the post if it is there; else create it again. Tell the operator.",
)


async def end_all_unreadable(
    database: Database, outbox: Outbox, publisher: PublisherClient, ids: Sequence[UUID], *, hopeless_after: timedelta
) -> None:
    """End moving posts that cannot be asked about by message, a few at a time; the rest waits when the publisher is away."""
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        answers = await asyncio.gather(
            *(end_unreadable(database, outbox, publisher, post_id, hopeless_after=hopeless_after) for post_id in some)
        )
        if not all(answers):
            return


async def end_unreadable(
    database: Database, outbox: Outbox, publisher: PublisherClient, post_id: UUID, *, hopeless_after: timedelta
) -> bool:
    """End a moving post that cannot be asked about by message; returns False when the publisher would have to be there for it.

    An hour after its deadline the publisher is asked to stop it: by its word that nothing was published the post is failed. Where
    it is too late for that the publisher tells the end by itself; without any for `hopeless_after` the post is unconfirmed. What
    TikTok fetches by itself can be stopped after it has begun, so it is not asked about before. Evidence of publication counts at
    any time after that, too.
    """
    async with database.transaction() as tx:
        post = await lock_post(tx.connection, post_id)
        silent = _silence(post, await database_now(tx.connection))
        if post is None or silent < (hopeless_after if post.is_fetched_by_tiktok else OVER_AFTER):
            return True
        # The publisher's event may be here before its answer: it is to end the post in the same way.
        await note_given_up(tx.connection, post)
    try:
        cancelled = await publisher.cancel(post.id, post.attempt)
    except PublisherUndecided:
        cancelled = False
    except PublisherAway:
        return False
    if cancelled or silent >= hopeless_after:
        async with database.transaction() as tx:
            await _end(tx, outbox, post, is_proven=cancelled)
    return True


async def _end(tx: Transaction, outbox: Outbox, seen: Post, *, is_proven: bool) -> None:
    post = await lock_post(tx.connection, seen.id)
    kind, reason = (Kind.FAILED_FINAL, GIVEN_UP) if is_proven else (Kind.LOST, UNKNOWN)
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
