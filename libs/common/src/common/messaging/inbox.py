"""Inbox: makes consumers idempotent. The row is written in the transaction of the effect, so both happen once or neither."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Table, Text, Uuid, bindparam, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from common.database.database import Transaction

PRUNE_BATCH = 5_000


class Inbox:
    """Remembers which messages a consumer (a queue's name) has handled."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def unseen(self, tx: Transaction, consumer: str, message_ids: Sequence[UUID]) -> set[UUID]:
        """Mark the messages as handled and return those that had not been; concurrent duplicates wait for each other."""
        # One array parameter: the statement is the same, and compiled once, for every number of messages.
        ids = func.unnest(bindparam("message_ids", type_=ARRAY(Uuid)))
        rows = select(literal(consumer, Text), ids)
        statement = insert(self._table).from_select(["consumer", "message_id"], rows).on_conflict_do_nothing()
        found = await tx.connection.scalars(statement.returning(self._table.c.message_id), {"message_ids": list(message_ids)})
        return set(found)

    async def first_time(self, tx: Transaction, consumer: str, message_id: UUID) -> bool:
        """Mark one message as handled; False when it had been already."""
        return message_id in await self.unseen(tx, consumer, [message_id])

    async def prune(self, tx: Transaction, older_than: timedelta, *, limit: int = PRUNE_BATCH) -> int:
        """Remove up to `limit` rows older than the retention; returns how many."""
        table = self._table
        old = (
            select(table.c.consumer, table.c.message_id)
            .where(table.c.received_at < func.now() - older_than)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .subquery()
        )
        statement = delete(table).where(table.c.consumer == old.c.consumer, table.c.message_id == old.c.message_id)
        return (await tx.connection.execute(statement)).rowcount
