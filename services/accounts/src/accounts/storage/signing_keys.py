"""Keys that sign user JWTs; the private halves are sealed."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import signing_keys

_LOCK_KEY = 0x6A776B73


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One Ed25519 key pair; `active` when it may sign now."""

    kid: str
    public_key: bytes
    private_key_sealed: bytes = field(repr=False)
    active: bool
    active_from: datetime


async def lock_signing_keys(connection: AsyncConnection) -> None:
    """Let one transaction at a time decide whether a key is to be made."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


async def usable_keys(connection: AsyncConnection) -> list[StoredKey]:
    """Return the keys that are not retired, the newest to sign with first."""
    table = signing_keys
    statement = (
        select(
            table.c.kid,
            table.c.public_key,
            table.c.private_key_sealed,
            table.c.active_from <= func.clock_timestamp(),
            table.c.active_from,
        )
        .where((table.c.retired_at.is_(None)) | (table.c.retired_at > func.now()))
        .order_by(table.c.active_from.desc(), table.c.kid)
    )
    return [StoredKey(*row) for row in await connection.execute(statement)]


async def insert_signing_key(connection: AsyncConnection, *, kid: str, public_key: bytes, private_key_sealed: bytes) -> None:
    """Store a key that signs from now on."""
    statement = insert(signing_keys).values(kid=kid, public_key=public_key, private_key_sealed=private_key_sealed)
    await connection.execute(statement)
