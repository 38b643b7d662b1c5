"""Storing what TikTok told of an account."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts.domain.account import Account
from accounts.domain.profile import Profile
from accounts.storage.account_reads import find_account, lock_account
from accounts.storage.account_writes import store_profile
from accounts.usecases.account_events import tell_synced
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


@dataclass(frozen=True, slots=True)
class SyncedProfile:
    """A profile, and when TikTok was asked for it, by the database's clock."""

    profile: Profile
    asked_at: datetime


async def store_synced_profile(
    tx: Transaction, outbox: Outbox, context: Context, *, account_id: UUID, read: SyncedProfile
) -> Account | None:
    """Store the profile, tell of it, and return the account; None when it was disconnected meanwhile.

    What was asked for earlier than what is stored (another sync, a new connection) changes nothing; the account is returned as it
    is.
    """
    account = await lock_account(tx.connection, account_id)
    if account is None:
        return None
    if account.last_synced_at is not None and account.last_synced_at > read.asked_at:
        return account
    await store_profile(tx.connection, account, read.profile, synced_at=read.asked_at)
    synced = await find_account(tx.connection, account_id)
    if synced is not None:
        await tell_synced(tx, outbox, synced, context, synced_at=read.asked_at)
    return synced
