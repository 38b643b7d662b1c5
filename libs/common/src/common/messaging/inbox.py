"""Inbox: makes consumers idempotent. The row is written in the transaction of the effect, so both happen once or neither."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Table, delete, func, select

from common.database.database import Transaction

PRUNE_BATCH = 5_000


class Inbox:
    """Remembers which messages a consumer (a queue's name) has handled."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._mark = f"""
            INSERT INTO {table.name} (consumer, message_id) SELECT $1, unnest($2::uuid[])
            ON CONFLICT DO NOTHING RETURNING message_id
        """

    async def unseen(self, tx: Transaction, consumer: str, message_ids: Sequence[UUID]) -> set[UUID]:
        """Mark the messages as handled and return those that had not been; concurrent duplicates wait for each other."""
        found = await tx.driver.fetch(self._mark, consumer, message_ids)
        return {row["message_id"] for row in found}

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
