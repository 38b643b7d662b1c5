"""Batch consumption: what has arrived while the last batch was committed becomes the next one; a quiet queue has batches of one.

Deliveries are read and acknowledged by ourselves (`common.messaging.wire`), a batch at a time. What cannot be handled goes where a
single message of another queue would go: to a retry tier or the dead-letter queue.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Generic, TypeVar

import structlog
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from common.messaging.assurance import Assurances
from common.messaging.batches import BatchHandler
from common.messaging.connection import user_of
from common.messaging.dead_letters import Redelivery
from common.messaging.incoming import GUARDED, Incoming
from common.messaging.topology import QueueSpec
from common.messaging.wire.consuming import ConsumingLink, acknowledge
from common.messaging.wire.frames import Delivery
from common.messaging.wire.link import Session

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class BatchConsumer(Generic[T]):
    """A component that consumes one queue over a connection of its own.

    A batch that is not full waits `linger` seconds for more: where nobody is in a hurry, that spares most of the work. Questions to
    `assurances` are answered once everything that came before them was handled. Stopping takes no new deliveries, handles for up to
    `grace` seconds what has arrived and hands back the rest.
    """

    def __init__(
        self,
        url: SecretStr,
        redelivery: Redelivery,
        handler: BatchHandler[T],
        spec: QueueSpec,
        *,
        service: str,
        max_batch: int = 500,
        linger: float = 0.0,
        grace: float = 15.0,
        assurances: Assurances | None = None,
    ) -> None:
        self._redelivery = redelivery
        self._user = user_of(url)
        self._assurances = assurances
        self._handler = handler
        self._queue = spec.name
        self._max_batch = max_batch
        self._linger = linger
        self._grace = grace
        self._arrived: deque[tuple[Session, Delivery]] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        self._link = ConsumingLink(
            url,
            name=f"{service}:consume:{spec.name}",
            queues=[spec],
            take=self._take,
            on_lost=self._arrived.clear,
        )
        self.check = self._link.check

    async def start(self) -> None:
        """Connect, declare the queue, its dead-letter queue and bindings, then consume."""
        self._running = asyncio.create_task(self._run(), name=f"batches:{self._queue}")
        await self._link.start()

    async def stop(self) -> None:
        """Stop consuming, finish or hand back what is in hand, close the connection."""
        await self._link.cancel()
        self._stopping = True
        self._wake.set()
        tasks = [*([self._running] if self._running is not None else []), *self._settling]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=self._grace)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await self._link.stop()

    def healthy(self) -> str | None:
        """Return None, or why batches are not handled."""
        return "not running" if self._running is None or self._running.done() else None

    def _take(self, session: Session, deliveries: Sequence[Delivery]) -> None:
        self._arrived.extend((session, delivery) for delivery in deliveries)
        self._wake.set()

    async def _run(self) -> None:
        with bound_contextvars(queue=self._queue):
            while True:
                self._wake.clear()
                if self._linger and 0 < len(self._arrived) < self._max_batch and not self._stopping:
                    await asyncio.sleep(self._linger)
                # What waits is forgotten with its connection, so all of it is of one, and after a pause none may be left.
                if self._arrived:
                    batch = [self._arrived.popleft() for _ in range(min(self._max_batch, len(self._arrived)))]
                    await self._work(batch[0][0], [delivery for _, delivery in batch])
                elif self._stopping:
                    return
                else:
                    await self._wake.wait()

    async def _work(self, session: Session, batch: Sequence[Delivery]) -> None:
        """Handle a batch and acknowledge it; what failed is settled, and questions are answered, beside the next batches."""
        read, messages, questions = [], [], []
        for delivery in batch:
            if self._assurances is not None and delivery.routing_key == self._assurances.key:
                questions.append(delivery)
                continue
            try:
                # The rest, nearly all, is fit: properties take long to decode.
                if delivery.has_headers or delivery.exchange not in GUARDED:
                    self._require_fit(self._incoming(session, delivery))
                messages.append(self._handler.read(delivery.body, delivery.routing_key))
            except Exception as error:  # noqa: BLE001 - every failure is sent on: retry tier or dead letter
                self._settle(session, delivery, error)
            else:
                read.append(delivery)
        handled = []
        for delivery, failure in zip(read, await self._handler.handle(messages), strict=True):
            if failure is None:
                handled.append(delivery.tag)
            else:
                self._settle(session, delivery, failure)
        await acknowledge(session, handled)
        if self._assurances is not None:
            for delivery in questions:
                self._beside(self._assurances.answer(session, self._incoming(session, delivery)))

    def _require_fit(self, incoming: Incoming) -> None:
        incoming.require_survivable()
        incoming.require_sender(self._user)

    def _settle(self, session: Session, delivery: Delivery, error: Exception) -> None:
        away = ExitStack()
        if self._assurances is not None:
            away.enter_context(self._assurances.sending_away())

        async def settle() -> None:
            with away:
                _log.warning("message_failed", queue=self._queue, exc_info=error)
                await self._redelivery.settle(self._incoming(session, delivery), error)

        self._beside(settle())

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def _incoming(self, session: Session, delivery: Delivery) -> Incoming:
        return Incoming.of_delivery(delivery, partial(acknowledge, session, [delivery.tag]))
