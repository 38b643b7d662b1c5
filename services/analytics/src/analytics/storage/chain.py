"""The audit trail, read as a chain: oldest first, a page at a time, all of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Text, cast, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.checkpoint import Checkpoint, SignedCheckpoint
from analytics.domain.month import Month
from analytics.domain.record import Record
from analytics.storage.months import LOCK_KEY
from analytics.storage.tables import checkpoints, records

PAGE = 2_000

# JSON comes as the text that was stored.
_COLUMNS = [
    cast(records.c[name], Text).label(name) if name in {"changes", "data"} else records.c[name] for name in Record._fields
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
    rows = await connection.execute(select(checkpoints).order_by(checkpoints.c.last_seq))
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

    Holds a page of them at a time.
    """
    query = select(*_COLUMNS).where(records.c.seq > after).order_by(records.c.recorded_at, records.c.seq).limit(PAGE)
    page = [Record._make(row) for row in await connection.execute(query)]
    while page:
        for record in page:
            yield record
        place = page[-1].recorded_at, page[-1].seq
        # The first condition leaves out months that are read already; the second one, alone, would not.
        beyond = query.where(records.c.recorded_at >= place[0], tuple_(records.c.recorded_at, records.c.seq) > tuple_(*place))
        page = [Record._make(row) for row in await connection.execute(beyond)]
