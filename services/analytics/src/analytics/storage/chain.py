"""The audit trail, read as a chain: oldest first, a page at a time, all of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


async def all_records(connection: AsyncConnection, *, after: int = 0) -> AsyncIterator[Record]:
    """Yield every record behind the `after`-th, in the order of the chain, those too that are written meanwhile.

    Holds a page of them at a time. Raises `Broken` where a record's own time of writing cannot be read and it is the last of its
    page: where to go on is not known then.
    """
    query = select(*_COLUMNS).where(records.c.seq > after).order_by(records.c.recorded_at, records.c.seq).limit(PAGE)
    page = [Record._make(row) for row in await connection.execute(query)]
    while page:
        for record in page:
            yield record
        place = page[-1].recorded_at, page[-1].seq
        if place[0] is None:
            raise Broken(page[-1].seq, page[-1].id, "was changed: it was written at no time that a program can read")
        # The first condition leaves out months that are read already; the second one, alone, would not.
        beyond = query.where(records.c.recorded_at >= place[0], tuple_(records.c.recorded_at, records.c.seq) > tuple_(*place))
        page = [Record._make(row) for row in await connection.execute(beyond)]
