"""The scheduler's copies of TikTok accounts."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.account_copy import AccountCopy
from scheduler.storage.tables import accounts


async def save_account(connection: AsyncConnection, copy: AccountCopy) -> bool:
    """Store a copy unless a newer one is known; False when it was older."""
    values = {
        "id": copy.id,
        "user_id": copy.user_id,
        "username": copy.username,
        "status": copy.status,
        "version": copy.version,
        "deleted": copy.deleted,
    }
    statement = insert(accounts).values(values)
    newer = {name: statement.excluded[name] for name in values if name != "id"}
    statement = statement.on_conflict_do_update(
        index_elements=["id"], set_=newer, where=accounts.c.version <= statement.excluded.version
    )
    result = await connection.execute(statement.returning(accounts.c.id))
    return result.one_or_none() is not None


async def get_account(connection: AsyncConnection, account_id: UUID, user_id: UUID) -> AccountCopy | None:
    """Return the copy of a user's account, also of a disconnected one; None when it is unknown."""
    statement = select(accounts).where(accounts.c.id == account_id, accounts.c.user_id == user_id)
    row: Any = (await connection.execute(statement)).one_or_none()
    return None if row is None else AccountCopy(*row)


async def lock_account(connection: AsyncConnection, account_id: UUID) -> AccountCopy | None:
    """Return the copy, kept from changing until the transaction ends, so that a post made now is not missed by a hold."""
    statement = select(accounts).where(accounts.c.id == account_id).with_for_update(read=True)
    row: Any = (await connection.execute(statement)).one_or_none()
    return None if row is None else AccountCopy(*row)
