"""The audit trail, read as a chain: oldest first, a page at a time, all of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, case, cast, literal_column, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.chain import Broken
from analytics.domain.checkpoint import Checkpoint, SignedCheckpoint
from analytics.domain.month import Month
from analytics.domain.record import Record
from analytics.storage.moments import LAST, readable, readable_or_null
from analytics.storage.months import LOCK_KEY
from analytics.storage.tables import checkpoints, records

PAGE = 2_000


def _read(name: str) -> ColumnElement[Any]:
    """Return a column as it is read: JSON as the text that was stored, a time that no program can read as null."""
    column = records.c[name]
    if name in {"changes", "data"}:
        return cast(column, Text).label(name)
    return readable_or_null(column, name) if name in {"recorded_at", "time"} else column


def _read_or_last(name: str) -> ColumnElement[Any]:
    """Return a checkpoint's time as it is read: where no program can read it, as the last one, to which no signature belongs."""
    column = checkpoints.c[name]
    return case((readable(column), column), else_=cast(literal_column(LAST), column.type)).label(name)


_COLUMNS = [_read(name) for name in Record._fields]

_CHECKPOINT = [
    _read_or_last(name) if name in {"month", "last_recorded_at", "signed_at"} else checkpoints.c[name]
    for name in ("month", "first_seq", "last_seq", "last_hash", "last_recorded_at", "signed_at", "key", "signature")
]


@asynccontextmanager
async def kept_whole(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let no month be dropped until the block ends; writers are not held up."""
    await connection.execute(text("SELECT pg_advisory_lock_shared(:key)"), {"key": LOCK_KEY})
    try:
        yield
    finally:
        await connection.execute(text("SELECT pg_advisory_unlock_shared(:key)"), {"key": LOCK_KEY})


async def all_checkpoints(connection: AsyncConnection) -> list[SignedCheckpoint]:
    """Return the checkpoints of dropped months, in the order of the chain."""
    rows = await connection.execute(select(*_CHECKPOINT).order_by(checkpoints.c.last_seq))
    return [
        SignedCheckpoint(
            Checkpoint(
                Month(row.month.year, row.month.month),
                row.first_seq,
                row.last_seq,
                row.last_hash,
                row.last_recorded_at,
                row.signed_at,
            ),
            row.key,
            row.signature,
        )
        for row in rows
    ]


class Place(NamedTuple):
    """A record's place in the chain."""

    recorded_at: datetime
    seq: int


def place_of(record: Record) -> Place:
    """Return where a record stands; raises `Broken` when it was written at no time that can be read."""
    if record.recorded_at is None:
        raise Broken(record.seq, record.id, "was changed: it was written at no time that a program can read")
    return Place(record.recorded_at, record.seq)


async def page(connection: AsyncConnection, behind: Place | None, *, after: int | None = None, limit: int) -> list[Record]:
    """Return up to `limit` records behind a place (or all), and behind the `after`-th (or all), in the order of the chain."""
    query = select(*_COLUMNS).order_by(records.c.recorded_at, records.c.seq).limit(limit)
    if after is not None:
        query = query.where(records.c.seq > after)
    if behind is not None:
        # The first condition leaves out months that are read already; the second one, alone, would not.
        query = query.where(
            records.c.recorded_at >= behind.recorded_at, tuple_(records.c.recorded_at, records.c.seq) > tuple_(*behind)
        )
    return [Record._make(row) for row in await connection.execute(query)]


async def all_records(connection: AsyncConnection, *, after: int | None = None) -> AsyncIterator[Record]:
    """Yield every record, or those behind the `after`-th, in the order of the chain, those too that are written meanwhile.

    Without `after`, whatever their numbers. Holds a page of them at a time. Raises `Broken` when the last one of a page has no
    place that can be read: where to go on is not known then.
    """
    found = await page(connection, None, after=after, limit=PAGE)
    while found:
        for record in found:
            yield record
        found = await page(connection, place_of(found[-1]), after=after, limit=PAGE)
