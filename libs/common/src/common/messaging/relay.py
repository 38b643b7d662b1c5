"""Relay: publishes what the outbox holds, with confirms, and removes it.

Rows are claimed exclusively (`FOR UPDATE SKIP LOCKED`), so no two relays publish the same row at once. A crash between confirm
and commit publishes the row again: consumers deduplicate by the envelope's id. It is woken at each commit and looks by itself
every second for what a crash left over. Order is not promised.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import ChannelInvalidStateError
from faststream.rabbit import RabbitExchange
from sqlalchemy import ColumnElement, Row, Table, Update, delete, func, or_, select, update

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.publisher import CONFIRM_TIMEOUT_S, MessagePublisher, Outgoing
from common.messaging.topology import COMMANDS, EVENTS

BATCH = 500
MAX_PUT_OFF_S = 300

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
            claim = (
                select(table).where(_may_go(table)).order_by(table.c.id).limit(self._batch).with_for_update(skip_locked=True)
            )
            rows = (await tx.connection.execute(claim)).all()
            if not rows:
                return StepResult()
            outcomes = await asyncio.gather(*(self._publish(row) for row in rows), return_exceptions=True)
            confirmed = [row.id for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
            refused = [row.id for row, outcome in zip(rows, outcomes, strict=True) if _is_refusal(outcome)]
            if confirmed:
                await tx.connection.execute(delete(table).where(table.c.id.in_(confirmed)))
            if refused:
                await tx.connection.execute(_put_off(table, refused))
                _log.error("relay_refused", messages=[str(row) for row in refused[:10]], refused=len(refused))
        unknown = [outcome for outcome in outcomes if outcome is not None and not _is_refusal(outcome)]
        if unknown:
            _log.warning("relay_not_confirmed", failed=len(unknown), confirmed=len(confirmed))
            raise unknown[0]
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


def _is_refusal(outcome: BaseException | None) -> bool:
    """Whether this very message cannot be published; otherwise the broker is away, and with it every message."""
    if outcome is None or isinstance(outcome, OSError | TimeoutError | ChannelInvalidStateError):
        return False
    return isinstance(outcome, DeliveryError) or not isinstance(outcome, AMQPError)


def _may_go(table: Table) -> ColumnElement[bool]:
    return or_(table.c.not_before.is_(None), table.c.not_before <= func.now())


def _put_off(table: Table, ids: Sequence[UUID]) -> Update:
    """Let rows that the broker refused wait, from a second to five minutes, doubling with each refusal."""
    seconds = func.least(func.power(2, table.c.refusals), MAX_PUT_OFF_S)
    return (
        update(table)
        .where(table.c.id.in_(ids))
        .values(refusals=table.c.refusals + 1, not_before=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds))
    )
