"""Follow a TikTok account: keep the copy, hold, release or cancel its posts."""

from collections.abc import Sequence

from common.contracts import accounts as contract
from common.contracts.envelope import Envelope
from common.contracts.scheduler import PostHeld
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.post import Post
from scheduler.storage import account_posts
from scheduler.storage.accounts import save_account
from scheduler.usecases.post_events import emit_states, wrap_event
from scheduler.usecases.waker import Waker


async def apply_account_event(
    tx: Transaction, outbox: Outbox, waker: Waker, event: contract.AccountEvent, envelope: Envelope
) -> None:
    """Store the newest copy of the account and bring its posts in line with it; older news change nothing.

    Guarantee: a post created at the same time is caught too, because creating locks the copy.
    """
    copy = AccountCopy(
        id=event.account_id,
        user_id=event.user_id,
        username=event.username,
        status=event.status,
        version=envelope.sequence_number,
        deleted=isinstance(event, contract.AccountDisconnected),
    )
    if not await save_account(tx.connection, copy):
        return
    await bring_posts_in_line(tx, outbox, waker, copy, envelope)


async def bring_posts_in_line(tx: Transaction, outbox: Outbox, waker: Waker, account: AccountCopy, envelope: Envelope) -> None:
    """Hold, release or cancel an account's waiting posts as its status demands; each change is an event."""
    connection = tx.connection
    if account.deleted:
        while changed := await account_posts.cancel_posts(connection, account.id):
            await emit_states(tx, outbox, changed, envelope.context, reason="account_disconnected")
        # After the cancelling: a post that the due loop takes in between is found here, and none can come back to waiting.
        await account_posts.want_cancelled(connection, account.id)
    elif (reason := account.hold_reason) is not None:
        await account_posts.rename_hold(connection, account.id, reason)
        while changed := await account_posts.hold_posts(connection, account.id, reason):
            await _emit(tx, outbox, envelope, [(post, _held(post, reason)) for post in changed])
    else:
        while changed := await account_posts.release_posts(connection, account.id):
            await _emit(tx, outbox, envelope, [(post, _held(post, "account_active")) for post in changed])
            waker.wake(tx)


def _held(post: Post, reason: str) -> PostHeld:
    return PostHeld(
        post_id=post.id,
        account_id=post.account_id,
        status=post.status,
        attempt=post.attempt,
        scheduled_time=post.scheduled_time,
        held=post.held,
        reason=reason,
    )


async def _emit(tx: Transaction, outbox: Outbox, envelope: Envelope, told: Sequence[tuple[Post, PostHeld]]) -> None:
    await outbox.emit_all(tx, [wrap_event(outbox, post, event, envelope.context) for post, event in told])
