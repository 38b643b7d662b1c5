"""Disconnecting an account: gone at once for its owner; its grant ends when the jobs under way have."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from accounts.storage.account_reads import lock_account
from accounts.storage.account_writes import disconnect
from accounts.storage.grant_revocations import plan_revocation
from accounts.usecases.account_events import tell_disconnected
from accounts.usecases.account_problems import account_not_found
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


@dataclass(frozen=True, slots=True)
class RevokeTimes:
    """When it is first looked whether jobs are under way, and how long they may go on with the grant."""

    first_look: timedelta
    patience: timedelta


async def disconnect_account(
    tx: Transaction, outbox: Outbox, context: Context, *, account_id: UUID, user_id: UUID, times: RevokeTimes
) -> None:
    """Take the account away from its owner, tell of it, and plan the revocation of the grant at TikTok.

    From the commit on nobody gets a token for new work; jobs under way still do. Raises Problem 404 `account_not_found`.
    """
    account = await lock_account(tx.connection, account_id, user_id=user_id)
    if account is None:
        raise account_not_found()
    version = await disconnect(tx.connection, account_id)
    await plan_revocation(tx.connection, account_id, first_look=times.first_look, patience=times.patience)
    await tell_disconnected(tx, outbox, account, context, version=version)
