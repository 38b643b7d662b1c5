"""Stop posts that the publisher has in hand and that are not wanted any more (their account was disconnected)."""

from uuid import UUID

from common.clock import utc_now
from common.database.database import Database, Transaction
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import PublisherAway, PublisherClient, PublisherUndecided
from scheduler.domain.outcome import ACCOUNT_DISCONNECTED
from scheduler.domain.post_states import Happening, Kind, transition
from scheduler.storage.cancel import forget_cancel, take_unwanted
from scheduler.storage.posts import change_post, lock_post
from scheduler.usecases.post_events import emit_state, own_context


async def stop_unwanted(database: Database, outbox: Outbox, publisher: PublisherClient, *, limit: int) -> int:
    """Ask the publisher about up to `limit` unwanted posts and apply its word; returns how many were asked about.

    A post whose question was not answered is asked about again after a while; one that is too late goes on to its end.
    """
    async with database.transaction() as tx:
        posts = await take_unwanted(tx.connection, limit=limit)
    for post in posts:
        try:
            cancelled = await publisher.cancel(post.id, post.attempt)
        except (PublisherAway, PublisherUndecided):
            continue
        async with database.transaction() as tx:
            await _apply(tx, outbox, post.id, post.attempt, cancelled=cancelled)
    return len(posts)


async def _apply(tx: Transaction, outbox: Outbox, post_id: UUID, attempt: int, *, cancelled: bool) -> None:
    post = await lock_post(tx.connection, post_id)
    if post is None or post.attempt != attempt:
        return
    state = transition(post.standing, Happening(Kind.CANCEL_CONFIRMED, attempt)) if cancelled else None
    if state is None:
        await forget_cancel(tx.connection, post.id)
        return
    columns = {"status": state.value, "forecast_at": None, "sweep_at": None, "cancel_at": None, "ended_at": utc_now()}
    changed = await change_post(tx.connection, post, columns | ACCOUNT_DISCONNECTED.columns())
    await emit_state(tx, outbox, changed, own_context(changed), reason=ACCOUNT_DISCONNECTED.code)
