"""Which TikTok account a post is for."""

from uuid import UUID

from common.database.database import Database
from scheduler.clients.accounts import AccountsAway, AccountsClient
from scheduler.domain.account_copy import AccountCopy
from scheduler.storage.accounts import get_account, save_account
from scheduler.usecases.problems import account_not_found, account_required, accounts_unavailable


async def choose_account(database: Database, accounts: AccountsClient, user_id: UUID, account_id: UUID | None) -> AccountCopy:
    """Return the account to use.

    A known one comes from the own copy. The accounts service is asked when the copy has not got it (any more), and when it was left
    out, because that choice depends on the copy being complete. Raises Problem 404 `account_not_found`, 422
    `account_required`, 503 `accounts_unavailable`.
    """
    if account_id is None:
        return await _only_active(database, accounts, user_id)
    async with database.read() as connection:
        known = await get_account(connection, account_id, user_id)
    if known is None or known.deleted:
        known = await _ask_for(database, accounts, user_id, account_id, known)
    if known is None or known.deleted:
        raise account_not_found()
    return known


async def _ask_for(
    database: Database, accounts: AccountsClient, user_id: UUID, account_id: UUID, known: AccountCopy | None
) -> AccountCopy | None:
    try:
        found = await accounts.account(user_id, account_id)
    except AccountsAway:
        if known is not None:
            return known
        raise accounts_unavailable() from None
    if found is not None:
        await _remember(database, found)
    return found


async def _only_active(database: Database, accounts: AccountsClient, user_id: UUID) -> AccountCopy:
    try:
        active = await accounts.active_accounts(user_id)
    except AccountsAway:
        raise accounts_unavailable() from None
    if len(active) != 1:
        raise account_required(len(active))
    await _remember(database, active[0])
    return active[0]


async def _remember(database: Database, account: AccountCopy) -> None:
    async with database.transaction() as tx:
        await save_account(tx.connection, account)
