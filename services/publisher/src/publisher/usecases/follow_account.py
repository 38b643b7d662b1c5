"""Following accounts: jobs that wait for theirs go on as soon as it is active again."""

from collections.abc import Callable, Sequence

from common.contracts.accounts import AccountDisconnected, AccountEvent
from common.database import Transaction
from publisher.storage import account_holds, accounts
from publisher.storage.accounts import ACTIVE, DISCONNECTED, AccountCopy


async def follow_account(tx: Transaction, event: AccountEvent, version: int, *, wakes: Sequence[Callable[[], None]]) -> int:
    """Keep the account's newest standing and, when that is active, make its waiting jobs due; returns how many.

    `wakes` run after the commit. News that are not newer change nothing. A disconnected account wakes no job: those of which
    nothing was sent are cancelled by the scheduler, the others go on by themselves.
    """
    status = DISCONNECTED if isinstance(event, AccountDisconnected) else event.status
    if not await accounts.save(tx.connection, AccountCopy(event.account_id, status, version)):
        return 0
    if status in {ACTIVE, DISCONNECTED}:
        # Whatever TikTok refused before: somebody has acted, and what still is refused shows with the next post.
        await account_holds.lift(tx.connection, event.account_id)
    if status != ACTIVE:
        return 0
    woken = await accounts.wake_jobs(tx.connection, event.account_id)
    if woken:
        for wake in wakes:
            tx.after_commit(wake)
    return woken
