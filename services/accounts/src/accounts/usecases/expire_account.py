"""Declaring an account expired: TikTok's grant is gone."""

from uuid import UUID

from accounts.domain.account import AccountStatus
from accounts.storage.account_reads import find_account
from accounts.storage.account_tokens import lock_pair, release_lease, stop_refreshing
from accounts.storage.account_writes import expire
from accounts.usecases.account_events import tell_expired
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


async def expire_account(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    account_id: UUID,
    pair_id: UUID,
    reason: str,
    lease_id: UUID | None = None,
) -> bool:
    """Mark the account expired and tell of it, if `pair_id` is still its current pair; gives a lease on that pair back.

    An owner's pause is kept for when the account is connected again.

    Another pair in storage means that someone else refreshed or reconnected meanwhile: then the refusal concerned a dead token,
    the account is well, and nothing changes.
    """
    if not await lock_pair(tx.connection, account_id, pair_id):
        return False
    if lease_id is not None:
        await release_lease(tx.connection, account_id, lease_id)
    await stop_refreshing(tx.connection, account_id)
    account = await find_account(tx.connection, account_id)
    if account is None or account.status is AccountStatus.EXPIRED:
        return False
    await expire(tx.connection, account_id, reason=reason)
    expired = await find_account(tx.connection, account_id)
    if expired is None:
        return False
    await tell_expired(tx, outbox, expired, context, reason=reason)
    return True
