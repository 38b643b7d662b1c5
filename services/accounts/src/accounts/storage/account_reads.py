"""Reading TikTok accounts; disconnected ones are not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, false, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import Account, AccountStatus
from accounts.domain.profile import search_pieces, search_text
from accounts.storage.refusals import standing_refusal
from accounts.storage.tables import account_tokens, tiktok_accounts

_table = tiktok_accounts
_SHOWN = (
    _table.c.id,
    _table.c.user_id,
    _table.c.open_id,
    _table.c.username,
    _table.c.display_name,
    _table.c.avatar_url,
    _table.c.status,
    _table.c.scopes,
    _table.c.follower_count,
    _table.c.following_count,
    _table.c.likes_count,
    _table.c.video_count,
    account_tokens.c.expires_at.label("token_expires_at"),
    func.greatest(account_tokens.c.expires_at, account_tokens.c.refresh_expires_at).label("grant_expires_at"),
    _table.c.last_synced_at,
    func.coalesce(_table.c.last_error, standing_refusal()).label("last_error"),
    _table.c.version,
    _table.c.created_at,
    _table.c.updated_at,
)


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """Which of a user's accounts a list shows."""

    user_id: UUID
    status: AccountStatus | None = None
    search: str | None = None


async def find_account(connection: AsyncConnection, account_id: UUID, *, user_id: UUID | None = None) -> Account | None:
    """Return the account, when `user_id` is given only if it is that user's."""
    statement = _accounts().where(_table.c.id == account_id, _table.c.disconnected_at.is_(None))
    if user_id is not None:
        statement = statement.where(_table.c.user_id == user_id)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _account(row)


async def lock_account(connection: AsyncConnection, account_id: UUID, *, user_id: UUID | None = None) -> Account | None:
    """Return the account as `find_account` does, locked until the transaction ends."""
    statement = _accounts().where(_table.c.id == account_id, _table.c.disconnected_at.is_(None))
    if user_id is not None:
        statement = statement.where(_table.c.user_id == user_id)
    row = (await connection.execute(statement.with_for_update(of=_table))).one_or_none()
    return None if row is None else _account(row)


async def database_time(connection: AsyncConnection) -> datetime:
    """Return the database's clock."""
    time: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return time


async def list_accounts(
    connection: AsyncConnection, chosen: AccountFilter, *, limit: int, before: UUID | None
) -> Sequence[Account]:
    """Return up to `limit` accounts, newest first, that come after the account `before` in the list."""
    statement = _accounts().where(*_conditions(chosen)).order_by(_table.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(_table.c.id < before)
    return [_account(row) for row in await connection.execute(statement)]


async def count_accounts(connection: AsyncConnection, chosen: AccountFilter, *, cap: int) -> int:
    """Return how many accounts the filter has, counted up to `cap`."""
    some = select(_table.c.id).where(*_conditions(chosen)).limit(cap).subquery()
    return int(await connection.scalar(select(func.count()).select_from(some)) or 0)


def _accounts() -> Select[Any]:
    joined = _table.outerjoin(account_tokens, account_tokens.c.account_id == _table.c.id)
    return select(*_SHOWN).select_from(joined)


def _conditions(chosen: AccountFilter) -> list[ColumnElement[bool]]:
    conditions = [_table.c.user_id == chosen.user_id, _table.c.disconnected_at.is_(None)]
    if chosen.status is not None:
        conditions.append(_table.c.status == chosen.status.value)
    if chosen.search and not chosen.search.isspace():
        wanted = search_text(chosen.search)
        # A search for accents alone asks for something, and no text has it.
        conditions.append(_contains(wanted) if wanted.strip() else false())
    return conditions


def _contains(wanted: str) -> ColumnElement[bool]:
    """Ask the index for what has all pieces, in any script; whether they stand in this order is seen in the text."""
    return and_(_table.c.search_pieces.contains(search_pieces(wanted)), func.strpos(_table.c.search_text, wanted) > 0)


def _account(row: Row[Any]) -> Account:
    return Account(
        id=row.id,
        user_id=row.user_id,
        open_id=row.open_id,
        username=row.username,
        display_name=row.display_name,
        avatar_url=row.avatar_url,
        status=AccountStatus(row.status),
        scopes=tuple(row.scopes),
        follower_count=row.follower_count,
        following_count=row.following_count,
        likes_count=row.likes_count,
        video_count=row.video_count,
        token_expires_at=row.token_expires_at,
        last_synced_at=row.last_synced_at,
        last_error=row.last_error,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        grant_expires_at=row.grant_expires_at,
    )
