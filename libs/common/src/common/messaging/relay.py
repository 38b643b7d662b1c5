"""Relay: publishes what the outbox holds, with confirms, and removes it.

Rows are taken exclusively (`FOR UPDATE SKIP LOCKED`), so no two relays publish the same row at once. They are gone only with the
commit, which follows the confirms: a crash before it publishes the rows again, and consumers deduplicate by the envelope's id. It
is woken at each commit and looks by itself every second for what a crash left over. Order is not promised.
"""

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Collection
from contextlib import suppress
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import Table, exists, func, select

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.ids import uuid7
from common.messaging.outbox_rows import MAX_PUT_OFF_S, OutboxRow, OutboxRows
from common.messaging.publisher import CONFIRM_TIMEOUT_S, MessagePublisher
from common.messaging.wire.confirms import Outcomes
from common.messaging.wire.frames import Publication

BATCH = 500
LOOK_EVERY_S = 0.1
"""While somebody waits for messages to be sent: another replica's relay may have them in hand, which tells nobody here."""
ANSWER_WITHIN_S = 5.0
"""For the database to say what the outbox holds: a lookup in an index, so beyond that it hangs."""
SENT = Counter("cuepost_relay_sent_total", "Messages that RabbitMQ has confirmed, by routing key.", ["key"])
REFUSED = Counter("cuepost_relay_refused_total", "Messages that RabbitMQ refused; they are sent again.")

_log = structlog.get_logger(__name__)


class Relay:
    """A component that empties one service's outbox."""

    def __init__(self, database: Database, table: Table, publisher: MessagePublisher, *, batch: int = BATCH) -> None:
        self._database = database
        self._table = table
        self._rows = OutboxRows(table)
        self._publisher = publisher
        self._batch = batch
        self._stepped = asyncio.Event()
        self._refused = 0
        self._refused_at = float("-inf")
        self._loop = DueLoop("relay", self._step)
        self.wake = self._loop.wake
        self.start = self._loop.start
        self.stop = self._loop.stop
        self.healthy = self._loop.healthy

    def warning(self) -> str | None:
        """Return how many messages RabbitMQ refused when it last did, while they wait for their next try."""
        if time.monotonic() > self._refused_at + MAX_PUT_OFF_S:
            return None
        return f"RabbitMQ refuses messages ({self._refused} at the last try): they are sent again"

    async def backlog(self) -> int:
        """Return how many messages wait."""
        async with self._database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(self._table)) or 0)

    async def wait_until_sent(self, keys: Collection[str], *, patience: float, only: UUID | None = None) -> bool:
        """Return True once the broker has confirmed every message of these keys that was committed before the call.

        With `only`, once it has confirmed the message with this id: others, which it may have refused, are not waited for.
        False when `patience` seconds did not suffice: what was not sent still will be. The database was asked for all of them, and
        has said so in the end; the time it took to answer does not count. Raises what the database raises, and TimeoutError when it
        leaves a question unanswered for `ANSWER_WITHIN_S`: then nothing is known.
        """
        newest = uuid7()
        clock = asyncio.get_running_loop().time
        left = patience
        while True:
            stepped = self._stepped
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if not await self._holds(keys, newest, only):
                    return True
            if left <= 0:
                return False
            since = clock()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_EVERY_S)):
                    await stepped.wait()
            left -= clock() - since

    async def _holds(self, keys: Collection[str], newest: UUID, only: UUID | None) -> bool:
        waiting = select(self._table.c.id)
        if only is not None:
            waiting = waiting.where(self._table.c.id == only)
        else:
            waiting = waiting.where(self._table.c.id <= newest, self._table.c.routing_key.in_(keys))
        async with self._database.read() as connection:
            return bool(await connection.scalar(select(exists(waiting))))

    async def _step(self) -> StepResult:
        """Take rows out, publish them, put back what the broker has not got; nothing is gone before the commit."""
        async with self._database.transaction() as tx:
            rows = await self._rows.take(tx, limit=self._batch)
            if not rows:
                return StepResult()
            outcomes = await self._publisher.publish_all([_publication(row) for row in rows], timeout=CONFIRM_TIMEOUT_S)
            _require_a_word(outcomes)
            refused = [rows[place] for place in outcomes.refused]
            unknown = [rows[place] for place in outcomes.unknown]
            await self._rows.put_back(tx, unknown)
            await self._rows.put_off(tx, refused)
        for key, number in Tally(rows[place].routing_key for place in outcomes.confirmed).items():
            SENT.labels(key).inc(number)
        # Each step has an event of its own: who waits for it looks again and then waits for the next.
        self._stepped.set()
        self._stepped = asyncio.Event()
        if refused:
            self._refused, self._refused_at = len(refused), time.monotonic()
            REFUSED.inc(len(refused))
            _log.error("relay_refused", messages=[str(row.id) for row in refused[:10]], refused=len(refused))
        if outcomes.failure is not None:
            _log.warning("relay_not_confirmed", failed=len(unknown), confirmed=len(rows) - len(unknown) - len(refused))
            raise outcomes.failure
        return StepResult(done=len(rows), more=len(rows) == self._batch)


def _require_a_word(outcomes: Outcomes) -> None:
    """Raise why the broker has said nothing about any message: then all stays as it was, and nothing need be put back."""
    if outcomes.failure is not None and not outcomes.confirmed and not outcomes.refused:
        raise outcomes.failure


def _publication(row: OutboxRow) -> Publication:
    return Publication(row.exchange, row.routing_key, row.body, f"cuepost.{row.routing_key}", int(row.created_at.timestamp()))
