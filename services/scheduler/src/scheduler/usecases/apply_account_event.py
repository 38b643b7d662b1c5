"""Follow a TikTok account: keep the copy, hold, release or cancel its posts."""

from collections.abc import Sequence

from common.contracts import accounts as contract
from common.contracts.context import Context
from common.contracts.envelope import Envelope
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.outcome import ACCOUNT_DISCONNECTED
from scheduler.domain.post import Post
from scheduler.storage import account_posts
from scheduler.storage.accounts import note_behind, save_account, take_behind
from scheduler.usecases.post_events import emit_states, held_event, wrap_event
from scheduler.usecases.waker import Waker


async def apply_account_event(
    tx: Transaction, outbox: Outbox, waker: Waker, event: contract.AccountEvent, envelope: Envelope
) -> None:
    """Store the newest copy of the account and bring its posts in line with it; older news change nothing.

    Except a disconnection that is heard of only after the account was connected again: the posts made before it are cancelled.
    Guarantee: a post created at the same time is caught too, because creating locks the copy. An account with more than a
    thousand posts to change is noted, and `follow_one_account` changes the rest: one transaction would hold the copy, which
    creating needs, for seconds.
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
        if copy.deleted:
            await _cancel_missed(tx, outbox, copy, envelope)
        return
    await _bring_in_line(tx, outbox, waker, copy, envelope.context)


async def follow_one_account(tx: Transaction, outbox: Outbox, waker: Waker) -> bool:
    """Bring the next thousand posts in line with an account that has more than its event could change; False when none has."""
    account = await take_behind(tx.connection)
    if account is None:
        return False
    await _bring_in_line(tx, outbox, waker, account, Context())
    return True


async def _bring_in_line(tx: Transaction, outbox: Outbox, waker: Waker, account: AccountCopy, context: Context) -> None:
    """Hold, release or cancel a thousand of an account's waiting posts as its status demands, and note whether there are more."""
    if account.deleted:
        full = await _cancel(tx, outbox, account, context)
    elif (reason := account.hold_reason) is not None:
        changed = await account_posts.hold_posts(tx.connection, account.id, reason)
        await _emit_held(tx, outbox, context, changed)
        full = len(changed) >= account_posts.CHUNK
    else:
        changed = await account_posts.release_posts(tx.connection, account.id)
        await _emit_held(tx, outbox, context, changed)
        if changed:
            waker.wake(tx)
        full = len(changed) >= account_posts.CHUNK
    await note_behind(tx.connection, account.id, behind=full)


async def _cancel(tx: Transaction, outbox: Outbox, account: AccountCopy, context: Context) -> bool:
    """Cancel what waits; returns whether more may be waiting."""
    changed = await account_posts.cancel_posts(tx.connection, account.id)
    await emit_states(tx, outbox, changed, context, reason=ACCOUNT_DISCONNECTED.code)
    # After the cancelling: a post that the due loop takes in between is found here, and none can come back to waiting.
    await account_posts.want_cancelled(tx.connection, account.id)
    return len(changed) >= account_posts.CHUNK


async def _cancel_missed(tx: Transaction, outbox: Outbox, account: AccountCopy, envelope: Envelope) -> None:
    full = True
    while full:
        changed = await account_posts.cancel_posts(tx.connection, account.id, before=envelope.time)
        await emit_states(tx, outbox, changed, envelope.context, reason=ACCOUNT_DISCONNECTED.code)
        full = len(changed) >= account_posts.CHUNK
    await account_posts.want_cancelled(tx.connection, account.id, before=envelope.time)


async def _emit_held(tx: Transaction, outbox: Outbox, context: Context, posts: Sequence[Post]) -> None:
    await outbox.emit_all(tx, [wrap_event(outbox, post, held_event(post), context) for post in posts])
