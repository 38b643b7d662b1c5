"""SQL of the outbox table: writing rows, taking them out, putting them back."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Table

from common.database.database import Transaction

MAX_PUT_OFF_S = 300


class OutboxRow(NamedTuple):
    """A message that waits to be published, as it is stored."""

    id: UUID
    exchange: str
    routing_key: str
    body: bytes
    created_at: datetime
    refusals: int
    not_before: datetime | None


_COLUMNS = ", ".join(OutboxRow._fields)


class OutboxRows:
    """The statements for one service's table; they run in the transaction handed in."""

    def __init__(self, table: Table) -> None:
        name = table.name
        self._write = f"""
            INSERT INTO {name} (id, exchange, routing_key, body, created_at)
            SELECT given.id, $1, given.routing_key, given.body, given.created_at
            FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::timestamptz[]) AS given (id, routing_key, body, created_at)
        """  # noqa: S608 - the name is the table's own
        # As an array the choice is made once; as a subquery the planner might make it again.
        self._take = f"""
            DELETE FROM {name} WHERE id = ANY (ARRAY(
                SELECT id FROM {name} WHERE not_before IS NULL OR not_before <= now()
                ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING {_COLUMNS}
        """  # noqa: S608 - as above
        self._put_back = f"INSERT INTO {name} ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 - as above
        self._put_off = f"""
            INSERT INTO {name} ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, now() + $7::float8 * interval '1 second')
        """  # noqa: S608 - as above

    async def write(self, tx: Transaction, exchange: str, rows: Sequence[tuple[UUID, str, bytes, datetime]]) -> None:
        """Write messages (id, routing key, body, its own time) in one statement, which is the same for every number of them."""
        ids, keys, bodies, times = zip(*rows, strict=True)
        await tx.driver.execute(self._write, exchange, ids, keys, bodies, times)

    async def take(self, tx: Transaction, *, limit: int) -> list[OutboxRow]:
        """Remove up to `limit` rows that may go and return them, oldest first; rows in another's hands are passed over.

        Until the transaction ends, nobody else sees them, and a rollback brings them back.
        """
        return sorted(OutboxRow(*row) for row in await tx.driver.fetch(self._take, limit))

    async def put_back(self, tx: Transaction, rows: Sequence[OutboxRow]) -> None:
        """Put rows back as they were."""
        if rows:
            await tx.driver.executemany(self._put_back, rows)

    async def put_off(self, tx: Transaction, rows: Sequence[OutboxRow]) -> None:
        """Put back rows that the broker refused; they wait from a second to five minutes, doubling with each refusal."""
        if rows:
            put_off = [(*row[:5], row.refusals + 1, float(min(2**row.refusals, MAX_PUT_OFF_S))) for row in rows]
            await tx.driver.executemany(self._put_off, put_off)
