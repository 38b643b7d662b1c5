"""Which grant we hold of a creator."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import AccountStatus
from accounts.storage.tables import account_tokens, tiktok_accounts


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """The grant behind a connected account; `obtained_at` is when its current token pair was asked for.

    `refreshing`: TikTok is being asked for the next pair, or has given it, and it is not stored yet.
    """

    account_id: UUID
    user_id: UUID
    pair_id: UUID
    status: AccountStatus
    obtained_at: datetime
    refreshing: bool


async def find_held_grant(connection: AsyncConnection, open_id: str) -> HeldGrant | None:
    """Return the grant of the creator's connected account; None for one that is not there, or was disconnected."""
    account, tokens = tiktok_accounts, account_tokens
    statement = (
        select(
            account.c.id,
            account.c.user_id,
            tokens.c.pair_id,
            account.c.status,
            tokens.c.obtained_at,
            func.coalesce(tokens.c.lease_until > func.now(), False),
        )
        .join_from(account, tokens, tokens.c.account_id == account.c.id)
        .where(account.c.open_id == open_id, account.c.disconnected_at.is_(None))
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else HeldGrant(row[0], row[1], row[2], AccountStatus(row[3]), row[4], row[5])


async def is_held(connection: AsyncConnection, open_id: str) -> bool:
    """Return whether tokens of the creator are stored: of a connected account, or of one whose last jobs still use them."""
    statement = (
        select(tiktok_accounts.c.id)
        .join_from(tiktok_accounts, account_tokens, account_tokens.c.account_id == tiktok_accounts.c.id)
        .where(tiktok_accounts.c.open_id == open_id)
        .limit(1)
    )
    return await connection.scalar(statement) is not None
