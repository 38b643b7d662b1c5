"""API keys, stored by the hash of their secret."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.api_key import ApiKey, DeadKey
from accounts.storage.tables import api_key_addresses as addresses
from accounts.storage.tables import api_keys, users

_SHOWN = (
    api_keys.c.id,
    api_keys.c.user_id,
    api_keys.c.name,
    api_keys.c.prefix,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.last_used_at,
)
_USE_WRITTEN_EVERY = timedelta(minutes=1)
USE_TOLD_EVERY = timedelta(hours=1)
ADDRESSES_TOLD = 20
"""So many addresses of a key are told of one by one within `USE_TOLD_EVERY`."""

Telling = Literal["address", "many_addresses"]


def _live() -> ColumnElement[bool]:
    return and_(api_keys.c.revoked_at.is_(None), or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()))


async def insert_api_key(
    connection: AsyncConnection,
    *,
    key_id: UUID,
    user_id: UUID,
    name: str,
    prefix: str,
    key_hash: bytes,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> ApiKey:
    """Store a key and return it without its secret."""
    statement = insert(api_keys).values(
        id=key_id,
        user_id=user_id,
        name=name,
        prefix=prefix,
        key_hash=key_hash,
        scopes=list(scopes),
        expires_at=expires_at,
    )
    return _api_key((await connection.execute(statement.returning(*_SHOWN))).one())


async def list_api_keys(connection: AsyncConnection, user_id: UUID, *, limit: int, before: UUID | None) -> list[ApiKey]:
    """Return up to `limit` of the user's keys that were not revoked, newest first, older than `before`."""
    statement = select(*_SHOWN).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    if before is not None:
        statement = statement.where(api_keys.c.id < before)
    rows = await connection.execute(statement.order_by(api_keys.c.id.desc()).limit(limit))
    return [_api_key(row) for row in rows]


async def lock_api_keys(connection: AsyncConnection, user_id: UUID) -> None:
    """Let one transaction at a time count and add keys of a user."""
    await connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())


async def count_api_keys(connection: AsyncConnection, user_id: UUID) -> int:
    """Return how many keys of the user were not revoked, expired ones included: what `list_api_keys` pages through."""
    statement = select(func.count()).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    return int(await connection.scalar(statement) or 0)


async def count_live_keys(connection: AsyncConnection, user_id: UUID) -> int:
    """Return how many keys of the user may be used now."""
    return int(await connection.scalar(select(func.count()).where(api_keys.c.user_id == user_id, _live())) or 0)


async def find_live_key(connection: AsyncConnection, key_hash: bytes) -> ApiKey | None:
    """Return the key with this secret when it may be used now."""
    statement = select(*_SHOWN).where(api_keys.c.key_hash == key_hash, _live())
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _api_key(row)


async def find_dead_key(connection: AsyncConnection, key_hash: bytes) -> DeadKey | None:
    """Return the key with this secret that was revoked or has expired, as long as it is remembered."""
    columns = (api_keys.c.id, api_keys.c.user_id, api_keys.c.revoked_at.is_not(None).label("revoked"))
    row = (await connection.execute(select(*columns).where(api_keys.c.key_hash == key_hash))).one_or_none()
    return None if row is None else DeadKey(row.id, row.user_id, "revoked" if row.revoked else "expired")


async def is_key_live(connection: AsyncConnection, key_id: UUID) -> bool:
    """Return whether the key may be used now."""
    return await connection.scalar(select(api_keys.c.id).where(api_keys.c.id == key_id, _live())) is not None


async def note_use(
    connection: AsyncConnection, key_id: UUID, address_hash: bytes, *, many_addresses: bool = False
) -> Telling | None:
    """Store that the key is used (at most once a minute); returns what to tell of it, None for nothing.

    An address is told once an hour for each key, up to `ADDRESSES_TOLD` of them; beyond, and of `many_addresses` that were not
    told apart, it is told once an hour that there are many.
    """
    stale = func.now() - USE_TOLD_EVERY
    if not many_addresses:
        fresh = select(addresses.c.told_at).where(addresses.c.address_hash == address_hash, addresses.c.told_at >= stale)
        if await connection.scalar(fresh) is not None:
            await _note_last_use(connection, key_id)
            return None
    # One transaction at a time counts the addresses of a key; what it waited for is seen by the statements after it.
    await connection.execute(select(api_keys.c.id).where(api_keys.c.id == key_id).with_for_update())
    telling: Telling | None
    if not many_addresses and await _told_addresses(connection, key_id) < ADDRESSES_TOLD:
        new = insert_or_update(addresses).values(address_hash=address_hash, api_key_id=key_id, told_at=func.now())
        told = new.on_conflict_do_update(
            index_elements=[addresses.c.address_hash], set_={"told_at": func.now()}, where=addresses.c.told_at < stale
        )
        telling = "address" if (await connection.execute(told)).rowcount else None
    else:
        many = update(api_keys).where(
            api_keys.c.id == key_id, or_(api_keys.c.use_told_at.is_(None), api_keys.c.use_told_at < stale)
        )
        telling = "many_addresses" if (await connection.execute(many.values(use_told_at=func.now()))).rowcount else None
    await _note_last_use(connection, key_id)
    return telling


async def _told_addresses(connection: AsyncConnection, key_id: UUID) -> int:
    fresh = addresses.c.told_at >= func.now() - USE_TOLD_EVERY
    return int(await connection.scalar(select(func.count()).where(addresses.c.api_key_id == key_id, fresh)) or 0)


async def _note_last_use(connection: AsyncConnection, key_id: UUID) -> None:
    long_ago = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < func.now() - _USE_WRITTEN_EVERY)
    noted = update(api_keys).where(api_keys.c.id == key_id, long_ago)
    await connection.execute(noted.values(last_used_at=func.now()))


async def revoke_api_key(connection: AsyncConnection, user_id: UUID, key_id: UUID) -> bool:
    """Revoke the user's key; False when there is none, or it was revoked already."""
    statement = (
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return bool((await connection.execute(statement)).rowcount)


async def revoke_api_keys_of(connection: AsyncConnection, user_id: UUID) -> list[UUID]:
    """Revoke all of a user's keys that may be used now; returns their ids."""
    statement = update(api_keys).where(api_keys.c.user_id == user_id, _live()).values(revoked_at=func.now())
    return list(await connection.scalars(statement.returning(api_keys.c.id)))


def _api_key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
