"""Pausing and resuming an account."""

from uuid import UUID

from accounts.domain.account import Account, AccountStatus
from accounts.storage.account_reads import find_account, lock_account
from accounts.storage.account_writes import pause_or_resume
from accounts.usecases.account_events import tell_updated
from accounts.usecases.account_problems import account_expired, account_not_found
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


async def update_account(
    tx: Transaction, outbox: Outbox, context: Context, *, account_id: UUID, user_id: UUID, status: AccountStatus
) -> Account:
    """Set the state, tell of it, and return the account; one that is in that state already stays as it is, untold.

    Raises Problem 404 `account_not_found`, and 409 `account_expired`: an expired account has no grant to go on with, so it has to
    be connected again; then it is as paused as it was before.
    """
    account = await lock_account(tx.connection, account_id, user_id=user_id)
    if account is None:
        raise account_not_found()
    if account.status is AccountStatus.EXPIRED:
        raise account_expired()
    if account.status is status:
        return account
    await pause_or_resume(tx.connection, account_id, paused=status is AccountStatus.INACTIVE)
    changed = await find_account(tx.connection, account_id)
    if changed is None:
        raise RuntimeError("the account that is locked is not there")
    await tell_updated(tx, outbox, account, changed, context)
    return changed
