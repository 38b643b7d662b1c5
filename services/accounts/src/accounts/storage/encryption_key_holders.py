"""Which encryption keys each replica holds, as it says itself every few seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import encryption_key_holders

GONE_AFTER = timedelta(seconds=20)
"""A replica that has said nothing for so long does not run any more: it says something every 5 s, or ends."""

MAX_HOLDERS = 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """A replica, the fingerprints of its keys (the first one seals), and why it refuses the file it should follow."""

    instance: str
    fingerprints: tuple[str, ...]
    refused: str | None


async def tell_held_keys(
    connection: AsyncConnection, holder_id: UUID, *, instance: str, fingerprints: Sequence[str], refused: str | None
) -> None:
    """Store what one replica holds now."""
    values = {
        "instance": instance,
        "fingerprints": list(fingerprints),
        "refused": refused,
        "seen_at": func.clock_timestamp(),
    }
    statement = insert(encryption_key_holders).values(id=holder_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


async def forget_held_keys(connection: AsyncConnection, holder_id: UUID) -> None:
    """Remove a replica that ends."""
    await connection.execute(delete(encryption_key_holders).where(encryption_key_holders.c.id == holder_id))


async def running_holders(connection: AsyncConnection) -> list[Holder]:
    """Return what every replica that runs said last, by name; at most a thousand."""
    table = encryption_key_holders
    statement = (
        select(table.c.instance, table.c.fingerprints, table.c.refused)
        .where(table.c.seen_at > func.clock_timestamp() - GONE_AFTER)
        .order_by(table.c.instance, table.c.id)
        .limit(MAX_HOLDERS)
    )
    return [Holder(row.instance, tuple(row.fingerprints), row.refused) for row in await connection.execute(statement)]
