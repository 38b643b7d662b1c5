"""Batch consumption: what has arrived while the last batch was committed becomes the next one; a quiet queue has batches of one.

Deliveries are read and acknowledged by ourselves (`common.messaging.wire`), a batch at a time. What cannot be handled goes where a
single message of another queue would go: to a retry tier or the dead-letter queue.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import structlog
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from common.messaging.batches import BatchHandler
from common.messaging.dead_letters import Redelivery
from common.messaging.incoming import Incoming
from common.messaging.topology import QueueSpec, dead_letter_queue, work_queue
from common.messaging.wire.declare import declare_exchange, declare_queue
from common.messaging.wire.frames import Delivery, ack_frames
from common.messaging.wire.link import Link, Session
from common.messaging.wire.tap import Tap

CANCEL_TIMEOUT_S = 2.0

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class _Arrived:
    """Deliveries of one connection: their tags mean nothing on another one."""

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()
        self.session: Session | None = None
        self.consumer = ""


class BatchConsumer(Generic[T]):
    """A component that consumes one queue over a connection of its own.

    Stopping takes no new deliveries, handles for up to `grace` seconds what has arrived and hands back the rest.
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
        grace: float = 15.0,
    ) -> None:
        self._redelivery = redelivery
        self._handler = handler
        self._spec = spec
        self._max_batch = max_batch
        self._grace = grace
        self._arrived = _Arrived()
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        self._link = Link(
            url,
            name=f"{service}:consume:{spec.name}",
            tap=self._tap,
            prepare=self._prepare,
            on_lost=self._forget,
            confirms=False,
        )

    async def start(self) -> None:
        """Connect, declare the queue, its dead-letter queue and bindings, then consume."""
        self._running = asyncio.create_task(self._run(), name=f"batches:{self._spec.name}")
        await self._link.start()

    async def stop(self) -> None:
        """Stop consuming, finish or hand back what is in hand, close the connection."""
        await self._stop_consuming()
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

    async def check(self) -> str | None:
        """Return None when the broker answers on this connection, else the reason; a lost consumer costs the connection."""
        return await self._link.check()

    def _tap(self) -> Tap:
        arrived = self._arrived = _Arrived()

        def take(deliveries: Sequence[Delivery]) -> None:
            arrived.waiting.extend(deliveries)
            self._wake.set()

        return Tap(on_deliveries=take)

    async def _prepare(self, session: Session) -> None:
        channel, arrived = session.channel, self._arrived
        await declare_queue(channel, dead_letter_queue(self._spec.name))
        await declare_queue(channel, work_queue(self._spec.name))
        for binding in self._spec.bindings:
            await declare_exchange(channel, binding.exchange)
            await channel.queue_bind(self._spec.name, binding.exchange.name, routing_key=binding.pattern)
        await channel.basic_qos(prefetch_count=self._spec.prefetch)
        arrived.session = session
        # The broker takes the consumer away with its queue: a new connection makes both anew.
        channel.on_consumer_cancel_callbacks.add(lambda _: self._link.drop(session))
        arrived.consumer = (await channel.basic_consume(self._spec.name, _unused)).consumer_tag or ""

    def _forget(self) -> None:
        """Let go of what waits: it comes again on the next connection."""
        self._arrived.waiting.clear()

    async def _stop_consuming(self) -> None:
        session = self._arrived.session
        if session is None or session.lost.is_set():
            return
        with suppress(Exception):
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await session.channel.basic_cancel(self._arrived.consumer)

    async def _run(self) -> None:
        with bound_contextvars(queue=self._spec.name):
            while True:
                self._wake.clear()
                arrived = self._arrived
                if arrived.waiting and arrived.session is not None:
                    number = min(self._max_batch, len(arrived.waiting))
                    await self._work(arrived.session, [arrived.waiting.popleft() for _ in range(number)])
                elif self._stopping:
                    return
                else:
                    await self._wake.wait()

    async def _work(self, session: Session, batch: Sequence[Delivery]) -> None:
        """Handle a batch and acknowledge it; what failed is settled beside the next batches."""
        read, messages = [], []
        for delivery in batch:
            try:
                if delivery.has_headers:
                    self._incoming(session, delivery).require_survivable()
                messages.append(self._handler.read(delivery.body))
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
        await _acknowledge(session, handled)

    def _settle(self, session: Session, delivery: Delivery, error: Exception) -> None:
        async def settle() -> None:
            _log.warning("message_failed", queue=self._spec.name, exc_info=error)
            await self._redelivery.settle(self._incoming(session, delivery), error)

        task = asyncio.create_task(settle())
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def _incoming(self, session: Session, delivery: Delivery) -> Incoming:
        return Incoming.of_delivery(delivery, self._spec.name, lambda: _acknowledge(session, [delivery.tag]))


async def _acknowledge(session: Session, tags: Sequence[int]) -> None:
    """Acknowledge; on a lost connection in vain: the messages come again, and the inbox knows them."""
    if not tags:
        return
    with suppress(ConnectionError):
        await session.write(ack_frames(session.channel.number, tags))


async def _unused(_: object) -> None:
    """Stand where the library wants a callback: the tap takes the deliveries."""
