"""How far the audit trail has been read into the copies, and what stands behind that place."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from analytics.domain.event import Event
from analytics.domain.event_fields import copied_fields
from analytics.storage.moments import FIRST, LAST
from common.database.database import Driver

NAME = "statistics"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """A place in the chain: that of the last record that was read."""

    recorded_at: datetime
    seq: int


class Read(NamedTuple):
    """A stretch of the chain: `records` are those that were wanted, `last` is the place of the last one, `full` tells of more."""

    records: list[tuple[datetime, Event]]
    last: Place
    full: bool


async def take_place(driver: Driver) -> Place | None:
    """Return the place, held for the transaction; None while another replica holds it."""
    row = await driver.fetchrow("SELECT recorded_at, seq FROM projection WHERE name = $1 FOR UPDATE SKIP LOCKED", NAME)
    if row is None:
        # It may also be that nothing was read yet: then it is there from now on.
        row = await driver.fetchrow(
            "INSERT INTO projection (name, recorded_at, seq) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING"
            " RETURNING recorded_at, seq",
            NAME,
            _BEGINNING,
        )
    return None if row is None else Place(*row)


async def move_to(driver: Driver, place: Place) -> None:
    """Store how far it was read."""
    await driver.execute(
        "UPDATE projection SET recorded_at = $2, seq = $3 WHERE name = $1", NAME, place.recorded_at, place.seq
    )


_BEHIND = f"""
SELECT recorded_at, seq, CASE WHEN wanted THEN id END AS id, key, source, subject, CASE WHEN wanted THEN time END AS time, user_id,
       sequence, CASE WHEN wanted THEN data::text END AS data
FROM (
    SELECT *, NOT again AND key = ANY($3) AND time BETWEEN {FIRST} AND {LAST} AS wanted FROM audit.records
    WHERE recorded_at >= $1 AND (recorded_at, seq) > ($1, $2)
    ORDER BY recorded_at, seq LIMIT $4
) stretch
"""  # noqa: S608 - of constants


async def read_behind(driver: Driver, place: Place, *, keys: Sequence[str], limit: int) -> Read:
    """Return up to `limit` records behind a place, in the chain's order; of those only the ones with these keys, told once.

    Their data are what copies are made of. Left out is what carries a time that no program can read: it was changed by hand.
    """
    rows = await driver.fetch(_BEHIND, place.recorded_at, place.seq, list(keys), limit)
    wanted = [
        (
            row["recorded_at"],
            Event(
                id=row["id"],
                key=row["key"],
                source=row["source"],
                subject=row["subject"],
                time=row["time"],
                user_id=row["user_id"],
                sequence=row["sequence"],
                data=copied_fields(orjson.loads(row["data"])),
            ),
        )
        for row in rows
        if row["data"] is not None
    ]
    last = Place(rows[-1]["recorded_at"], rows[-1]["seq"]) if rows else place
    return Read(wanted, last, len(rows) == limit)
