"""Relay: publishes what the outbox holds, with confirms, and removes it.

Rows are claimed exclusively (`FOR UPDATE SKIP LOCKED`), so no two relays publish the same row at once. A crash between confirm
and commit publishes the row again: consumers deduplicate by the envelope's id. It is woken at each commit and looks by itself
every second for what a crash left over. Order is not promised.
"""

import asyncio

import structlog
from faststream.rabbit import RabbitExchange
from sqlalchemy import Row, Table, delete, func, select

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.publisher import CONFIRM_TIMEOUT_S, MessagePublisher, Outgoing
from common.messaging.topology import COMMANDS, EVENTS

BATCH = 500

_EXCHANGES: dict[str, RabbitExchange] = {exchange.name: exchange for exchange in (EVENTS, COMMANDS)}
_log = structlog.get_logger(__name__)


class Relay:
    """A component that empties one service's outbox."""

    def __init__(self, database: Database, table: Table, publisher: MessagePublisher, *, batch: int = BATCH) -> None:
        self._database = database
        self._table = table
        self._publisher = publisher
        self._batch = batch
        self._loop = DueLoop("relay", self._step)
        self.wake = self._loop.wake
        self.start = self._loop.start
        self.stop = self._loop.stop
        self.healthy = self._loop.healthy

    async def backlog(self) -> int:
        """Return how many messages wait."""
        async with self._database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(self._table)) or 0)

    async def _step(self) -> StepResult:
        table = self._table
        async with self._database.transaction() as tx:
            claim = select(table).order_by(table.c.id).limit(self._batch).with_for_update(skip_locked=True)
            rows = (await tx.connection.execute(claim)).all()
            if not rows:
                return StepResult()
            outcomes = await asyncio.gather(*(self._publish(row) for row in rows), return_exceptions=True)
            confirmed = [row.id for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
            if confirmed:
                await tx.connection.execute(delete(table).where(table.c.id.in_(confirmed)))
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            _log.warning("relay_not_confirmed", failed=len(failures), confirmed=len(confirmed))
            raise failures[0]
        return StepResult(done=len(rows), more=len(rows) == self._batch)

    async def _publish(self, row: "Row[tuple[object, ...]]") -> None:
        message = Outgoing(
            body=row.body,
            exchange=_EXCHANGES[row.exchange],
            routing_key=row.routing_key,
            message_type=f"cuepost.{row.routing_key}",
            timestamp=row.created_at,
        )
        await self._publisher.publish(message, timeout=CONFIRM_TIMEOUT_S)
