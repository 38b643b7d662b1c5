"""The audit trail, written: one writer at a time, at the end of the chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.month import Month
from analytics.domain.record import GENESIS, Head, Record
from analytics.storage.tables import SCHEMA, records

LOCK_KEY = 0x616E_6175
"""Advisory lock of whoever writes: replicas take turns, so the chain has one end."""

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")

# The end of the chain is the last record, or, when all were dropped, what the last checkpoint tells of it.
_END = text(
    """
    WITH ends AS (
        (SELECT seq, hash, recorded_at FROM audit.records ORDER BY recorded_at DESC, seq DESC LIMIT 1)
        UNION ALL
        (SELECT last_seq, last_hash, last_recorded_at FROM audit.checkpoints ORDER BY last_seq DESC LIMIT 1)
    ), head AS (SELECT * FROM ends ORDER BY seq DESC LIMIT 1)
    SELECT clock.now, head.seq, head.hash, ARRAY(SELECT id FROM audit.records WHERE id = ANY(:ids)) AS known,
           to_regclass('audit.records_' || to_char(clock.now AT TIME ZONE 'UTC', 'YYYY_MM')) IS NOT NULL AS has_month
    FROM (SELECT greatest(clock_timestamp(), (SELECT recorded_at FROM head)) AS now) clock LEFT JOIN head ON true
    """
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))


@dataclass(frozen=True, slots=True)
class End:
    """Where the chain ends, for whoever holds the lock.

    `now` is the database's time, never before that of the last record; `known` are those of the ids asked about that are
    recorded already; `month` is one that has no partition yet and needs one, or None.
    """

    head: Head
    now: datetime
    known: frozenset[UUID]
    month: Month | None


async def lock(connection: AsyncConnection) -> None:
    """Wait until no other transaction writes; held until this one ends. Look for the end only after it."""
    await connection.execute(_LOCK, {"key": LOCK_KEY})


async def end(connection: AsyncConnection, ids: Sequence[UUID]) -> End:
    """Return the chain's end, and which of these events are recorded."""
    row = (await connection.execute(_END, {"ids": list(ids)})).one()
    head = GENESIS if row.seq is None else Head(row.seq, row.hash)
    return End(head, row.now, frozenset(row.known), None if row.has_month else Month.of(row.now))


async def append(connection: AsyncConnection, chain: Sequence[Record]) -> None:
    """Store records behind the last one, in the transaction that holds the lock."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.copy_records_to_table(records.name, schema_name=SCHEMA, columns=Record._fields, records=chain)


async def writable_beyond_appending(connection: AsyncConnection) -> bool:
    """Tell whether this role could change or remove what is recorded: then the trail proves less than it promises."""
    statement = text("SELECT has_table_privilege(CAST('audit.records' AS regclass), 'UPDATE, DELETE, TRUNCATE')")
    return bool(await connection.scalar(statement))
