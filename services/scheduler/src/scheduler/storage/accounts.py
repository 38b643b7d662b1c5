"""The scheduler's copies of TikTok accounts."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.account_copy import AccountCopy
from scheduler.storage.tables import accounts

_COPY = tuple(column for column in accounts.c if column.name != "behind_since")

# Asked for every post, so made once.
_OF_USER = select(*_COPY).where(accounts.c.id == bindparam("account_id"), accounts.c.user_id == bindparam("owner_id"))
_FOUND = select(*_COPY).where(accounts.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))).order_by(accounts.c.id)
_FOUND_AND_LOCKED = _FOUND.with_for_update(read=True)


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


async def note_behind(connection: AsyncConnection, account_id: UUID, *, behind: bool) -> None:
    """Note whether posts of the account are still to be brought in line with it; the one noted last comes last."""
    noting = update(accounts).where(accounts.c.id == account_id)
    if behind:
        noting = noting.values(behind_since=func.statement_timestamp())
    else:
        noting = noting.where(accounts.c.behind_since.is_not(None)).values(behind_since=None)
    await connection.execute(noting)


async def take_behind(connection: AsyncConnection) -> AccountCopy | None:
    """Return the account whose posts have waited longest to be brought in line, locked until the transaction ends."""
    statement = (
        select(*_COPY)
        .where(accounts.c.behind_since.is_not(None))
        .order_by(accounts.c.behind_since)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row: Any = (await connection.execute(statement)).one_or_none()
    return None if row is None else AccountCopy(*row)


async def get_account(connection: AsyncConnection, account_id: UUID, user_id: UUID) -> AccountCopy | None:
    """Return the copy of a user's account, also of a disconnected one; None when it is unknown."""
    row: Any = (await connection.execute(_OF_USER, {"account_id": account_id, "owner_id": user_id})).one_or_none()
    return None if row is None else AccountCopy(*row)


async def lock_account(connection: AsyncConnection, account_id: UUID) -> AccountCopy | None:
    """Return the copy, kept from changing until the transaction ends, so that a post made now is not missed by a hold."""
    statement = select(*_COPY).where(accounts.c.id == account_id).with_for_update(read=True)
    row: Any = (await connection.execute(statement)).one_or_none()
    return None if row is None else AccountCopy(*row)


async def find_accounts(connection: AsyncConnection, account_ids: Collection[UUID], *, lock: bool) -> dict[UUID, AccountCopy]:
    """Return copies by id; with `lock` kept from changing until the transaction ends, taken in the order of their ids."""
    if not account_ids:
        return {}
    rows: Any = await connection.execute(_FOUND_AND_LOCKED if lock else _FOUND, {"ids": list(account_ids)})
    return {row[0]: AccountCopy(*row) for row in rows}
