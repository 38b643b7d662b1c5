"""Token pairs of TikTok accounts and the lease under which one process at a time refreshes a pair.

A pair is known by `pair_id`: whoever stores a result says which pair it came from, and changes nothing when another pair has
taken its place meanwhile.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Update, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import AccountStatus
from accounts.domain.token_life import TokenLife
from accounts.storage.tables import account_tokens, grant_revocations, tiktok_accounts

_tokens = account_tokens


@dataclass(frozen=True, slots=True)
class SealedPair:
    """A pair of sealed tokens to store."""

    pair_id: UUID
    access_token: bytes = field(repr=False)
    refresh_token: bytes = field(repr=False)
    life: TokenLife


@dataclass(frozen=True, slots=True)
class Lease:
    """The sole right to refresh a pair. `answer_lost`: TikTok may have answered an earlier refresh of it that was never stored."""

    lease_id: UUID
    answer_lost: bool


@dataclass(frozen=True, slots=True)
class StoredPair:
    """The current pair of an account, judged by the database's clock; `refresh_lapsed` when neither token has any life left."""

    account_id: UUID
    user_id: UUID
    pair_id: UUID
    access_token: bytes = field(repr=False)
    refresh_token: bytes = field(repr=False)
    expires_at: datetime
    refresh_expires_at: datetime
    seconds_left: float
    refresh_due: bool
    refresh_lapsed: bool
    refresh_failures: int
    status: AccountStatus
    scopes: tuple[str, ...]
    open_id: str
    username: str
    disconnected: bool
    """Its owner has removed the account; the grant lives on for jobs under way, until it is revoked."""


async def store_new_pair(connection: AsyncConnection, account_id: UUID, pair: SealedPair) -> None:
    """Put a pair in the place of any other; whoever has it from a refresh holds `lock_pair` of the one it came from."""
    values = _values(pair)
    statement = insert(_tokens).values(account_id=account_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=[_tokens.c.account_id], set_=values))


async def find_pair(connection: AsyncConnection, account_id: UUID) -> StoredPair | None:
    """Return the current pair of an account that is connected, or whose grant is still to be revoked."""
    account, revocation = tiktok_accounts, grant_revocations
    ending = select(revocation.c.account_id).where(revocation.c.account_id == account.c.id, revocation.c.finished_at.is_(None))
    statement = (
        select(
            account.c.user_id,
            account.c.status,
            account.c.scopes,
            account.c.open_id,
            account.c.username,
            account.c.disconnected_at.is_not(None).label("disconnected"),
            _tokens,
            func.extract("epoch", _tokens.c.expires_at - func.now()).label("seconds_left"),
            (_tokens.c.refresh_due_at <= func.now()).label("refresh_due"),
            (func.greatest(_tokens.c.expires_at, _tokens.c.refresh_expires_at) <= func.now()).label("refresh_lapsed"),
        )
        .join_from(account, _tokens, _tokens.c.account_id == account.c.id)
        .where(account.c.id == account_id, or_(account.c.disconnected_at.is_(None), ending.exists()))
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _stored(row)


async def forget_pair(connection: AsyncConnection, account_id: UUID) -> None:
    """Delete the pair of an account that is not connected any more."""
    await connection.execute(delete(_tokens).where(_tokens.c.account_id == account_id))


async def lock_pair(connection: AsyncConnection, account_id: UUID, pair_id: UUID) -> bool:
    """Lock the account, then its pair; False when it is not this one any more.

    Whoever writes both tables locks them in this order, as whoever connects the account does: then none waits for another that
    waits for it.
    """
    await connection.execute(
        select(tiktok_accounts.c.id).where(tiktok_accounts.c.id == account_id).with_for_update(key_share=True)
    )
    statement = (
        select(_tokens.c.account_id).where(_tokens.c.account_id == account_id, _tokens.c.pair_id == pair_id).with_for_update()
    )
    return await connection.scalar(statement) is not None


async def take_lease(
    connection: AsyncConnection, account_id: UUID, *, pair_id: UUID, lease_id: UUID, life: timedelta
) -> Lease | None:
    """Take the sole right to refresh this pair for `life`; None while another holds it, or when the pair has changed.

    A lease that lapsed instead of being given back shows that its holder died while TikTok may have answered; that is kept in
    `interrupted_at` until there is another pair.
    """
    lapsed = case((_tokens.c.lease_id.is_not(None), func.coalesce(_tokens.c.interrupted_at, _tokens.c.lease_until)))
    statement = (
        update(_tokens)
        .where(
            _tokens.c.account_id == account_id,
            _tokens.c.pair_id == pair_id,
            or_(_tokens.c.lease_until.is_(None), _tokens.c.lease_until <= func.now()),
        )
        .values(
            lease_id=lease_id,
            lease_until=func.now() + life,
            interrupted_at=func.coalesce(lapsed, _tokens.c.interrupted_at),
        )
        .returning(_tokens.c.interrupted_at)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Lease(lease_id, row.interrupted_at is not None)


async def release_lease(connection: AsyncConnection, account_id: UUID, lease_id: UUID) -> None:
    """Give the right back."""
    await connection.execute(_of_holder(account_id, lease_id).values(lease_id=None, lease_until=None))


async def postpone_refresh(
    connection: AsyncConnection, account_id: UUID, lease_id: UUID, *, seconds: float, answer_lost: bool
) -> None:
    """Give the right back after a failure, and try again after so many seconds."""
    statement = _of_holder(account_id, lease_id).values(
        lease_id=None,
        lease_until=None,
        next_refresh_at=func.now() + timedelta(seconds=seconds),
        refresh_failures=_tokens.c.refresh_failures + 1,
    )
    if answer_lost:
        statement = statement.values(interrupted_at=func.coalesce(_tokens.c.interrupted_at, func.now()))
    await connection.execute(statement)


async def stop_refreshing(connection: AsyncConnection, account_id: UUID) -> None:
    """Plan no further refresh of the pair: its grant is gone."""
    await connection.execute(update(_tokens).where(_tokens.c.account_id == account_id).values(next_refresh_at=None))


def _of_holder(account_id: UUID, lease_id: UUID) -> Update:
    return update(_tokens).where(_tokens.c.account_id == account_id, _tokens.c.lease_id == lease_id)


def _values(pair: SealedPair) -> dict[str, Any]:
    return {
        "pair_id": pair.pair_id,
        "access_token_sealed": pair.access_token,
        "refresh_token_sealed": pair.refresh_token,
        "obtained_at": pair.life.obtained_at,
        "refresh_due_at": pair.life.refresh_due_at,
        "expires_at": pair.life.expires_at,
        "refresh_expires_at": pair.life.refresh_expires_at,
        "next_refresh_at": pair.life.next_refresh_at,
        "refresh_failures": 0,
        "interrupted_at": None,
        "lease_id": None,
        "lease_until": None,
    }


def _stored(row: Row[Any]) -> StoredPair:
    return StoredPair(
        account_id=row.account_id,
        user_id=row.user_id,
        pair_id=row.pair_id,
        access_token=row.access_token_sealed,
        refresh_token=row.refresh_token_sealed,
        expires_at=row.expires_at,
        refresh_expires_at=row.refresh_expires_at,
        seconds_left=float(row.seconds_left),
        refresh_due=row.refresh_due,
        refresh_lapsed=row.refresh_lapsed,
        refresh_failures=row.refresh_failures,
        status=AccountStatus(row.status),
        scopes=tuple(row.scopes),
        open_id=row.open_id,
        username=row.username,
        disconnected=row.disconnected,
    )
