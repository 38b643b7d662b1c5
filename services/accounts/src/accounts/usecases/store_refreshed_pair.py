"""Storing a refreshed token pair before anyone uses it."""

from uuid import UUID

from accounts.domain.account import AccountStatus
from accounts.domain.scopes import missing_scopes, taken_away
from accounts.storage.account_reads import find_account
from accounts.storage.account_tokens import SealedPair, lock_pair, store_new_pair
from accounts.storage.account_writes import change_scopes, revive
from accounts.usecases.account_events import tell_updated
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


async def store_refreshed_pair(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    account_id: UUID,
    old_pair_id: UUID,
    pair: SealedPair,
    scopes: tuple[str, ...],
    required_scopes: tuple[str, ...],
) -> bool:
    """Put the pair in the place of the one it came from; False when a newer grant is there already.

    The order of events does not matter: should the account have been declared expired while this pair was on its way (a process
    paused for longer than its lease), the pair proves that the grant lives, and the account is what it was: active, or paused by
    its owner.
    Scopes that the creator took away meanwhile are stored; when posting needs one of them, the account's `last_error` says so
    until it is given back.
    """
    if not await lock_pair(tx.connection, account_id, old_pair_id):
        return False
    await store_new_pair(tx.connection, account_id, pair)
    before = await find_account(tx.connection, account_id)
    if before is None:
        return False
    revived = before.status is AccountStatus.EXPIRED
    changed = bool(scopes) and set(scopes) != set(before.scopes)
    lacking = missing_scopes(scopes or before.scopes, required_scopes)
    last_error = taken_away(lacking) if lacking else None
    if revived:
        await revive(tx.connection, account_id, last_error=last_error)
    if changed:
        await change_scopes(tx.connection, account_id, scopes, last_error=last_error)
    if revived or changed:
        after = await find_account(tx.connection, account_id)
        if after is not None:
            await tell_updated(tx, outbox, before, after, context)
    return True
