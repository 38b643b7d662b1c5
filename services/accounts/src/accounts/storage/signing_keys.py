"""Keys that sign user JWTs; the private halves are sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Double, cast, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import signing_keys

_LOCK_KEY = 0x6A776B73


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One Ed25519 key pair; `active_in` seconds it may sign: zero or less when it may now. Verified with until it is retired."""

    kid: str
    public_key: bytes
    private_key_sealed: bytes = field(repr=False)
    active_in: float
    active_from: datetime
    retired_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether it may sign now."""
        return self.active_in <= 0


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key pair that is not stored yet."""

    kid: str
    public_key: bytes
    private_key_sealed: bytes = field(repr=False)


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
            cast(func.extract("epoch", table.c.active_from - func.clock_timestamp()), Double),
            table.c.active_from,
            table.c.retired_at,
        )
        .where((table.c.retired_at.is_(None)) | (table.c.retired_at > func.clock_timestamp()))
        .order_by(table.c.active_from.desc(), table.c.kid)
    )
    return [StoredKey(*row) for row in await connection.execute(statement)]


async def insert_signing_key(connection: AsyncConnection, key: NewKey, *, active_in: timedelta = timedelta(0)) -> datetime:
    """Store a key that is published from now on and signs `active_in` from now; returns when that is."""
    statement = (
        insert(signing_keys)
        .values(
            kid=key.kid,
            public_key=key.public_key,
            private_key_sealed=key.private_key_sealed,
            active_from=func.clock_timestamp() + active_in,
        )
        .returning(signing_keys.c.active_from)
    )
    active_from: datetime = (await connection.execute(statement)).scalar_one()
    return active_from


async def retire_keys(connection: AsyncConnection, kids: Sequence[str], *, at: datetime) -> None:
    """Let tokens of these keys be refused from `at` on."""
    await connection.execute(update(signing_keys).where(signing_keys.c.kid.in_(kids)).values(retired_at=at))
