"""Giving the reason to an account that expired without one."""

from uuid import UUID

from accounts.domain.account import AccountStatus
from accounts.storage.account_reads import find_account
from accounts.storage.account_tokens import lock_pair
from accounts.storage.account_writes import expire
from accounts.usecases.account_events import tell_expired
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


async def explain_expiry(
    tx: Transaction, outbox: Outbox, context: Context, *, account_id: UUID, pair_id: UUID, unexplained: str, reason: str
) -> bool:
    """Replace the reason `unexplained` of an expired account by `reason` and tell of it, if `pair_id` is still its pair.

    Any other reason stays: it is as exact as this one, or was given by it.
    """
    if not await lock_pair(tx.connection, account_id, pair_id):
        return False
    account = await find_account(tx.connection, account_id)
    if account is None or account.status is not AccountStatus.EXPIRED or account.last_error != unexplained:
        return False
    await expire(tx.connection, account_id, reason=reason)
    explained = await find_account(tx.connection, account_id)
    if explained is None:
        return False
    await tell_expired(tx, outbox, explained, context, reason=reason)
    return True
