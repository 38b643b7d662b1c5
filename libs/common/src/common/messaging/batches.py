"""Batch consumption: what has arrived while the last batch was committed becomes the next one.

FastStream has no batches on RabbitMQ, so each delivery waits for the commit of the batch it went into; a quiet queue still has
batches of one, without delay. A batch that fails is handled again one by one, so that one bad message stops no other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.contracts.envelope import Envelope
from common.database.database import Database, Transaction
from common.database.failures import is_database_away
from common.messaging.consumer import Handle
from common.messaging.inbox import Inbox
from common.messaging.incoming import Incoming

T = TypeVar("T")

Decode = Callable[[Envelope], T]
HandleBatch = Callable[[Transaction, Sequence[tuple[T, Envelope]]], Awaitable[None]]


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    envelope: Envelope
    done: asyncio.Future[None]


class BatchHandler(Generic[T]):
    """A component that gathers deliveries of one queue and handles them in one transaction.

    `decode` turns an envelope into what `handle` takes and raises `Permanent` for what it cannot; `handle` sees each message once
    (inbox), in no promised order. Without an inbox it sees redeliveries too, and its effect deduplicates by the envelope's id.
    """

    def __init__(
        self,
        queue: str,
        database: Database,
        inbox: Inbox | None,
        *,
        decode: Decode[T],
        handle: HandleBatch[T],
        max_batch: int = 500,
    ) -> None:
        self._queue_name = queue
        self._database = database
        self._inbox = inbox
        self._decode = decode
        self._handle_batch = handle
        self._max_batch = max_batch
        self._waiting: asyncio.Queue[_Waiting[T]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    @property
    def handle(self) -> Handle:
        """The handler to subscribe the queue with."""
        return self._deliver

    async def start(self) -> None:
        """Start gathering; start it before the consumer."""
        self._task = asyncio.create_task(self._run(), name=f"batches:{self._queue_name}")

    async def stop(self) -> None:
        """End; stop it after the consumer, when nothing waits any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while not self._waiting.empty():
            self._waiting.get_nowait().done.cancel()

    def healthy(self) -> str | None:
        """Return None, or why batches are not handled."""
        return "not running" if self._task is None or self._task.done() else None

    async def _deliver(self, incoming: Incoming) -> None:
        envelope = incoming.envelope()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(self._decode(envelope), envelope, done))
        await done

    async def _run(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._max_batch and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                await self._commit(batch)
            except asyncio.CancelledError:
                for waiting in batch:
                    waiting.done.cancel()
                raise

    async def _commit(self, batch: Sequence[_Waiting[T]]) -> None:
        try:
            await self._handle_once(batch)
        except Exception as error:  # noqa: BLE001 - given to the deliveries that wait for it
            if len(batch) > 1 and not is_database_away(error):
                for waiting in batch:
                    await self._commit([waiting])
                return
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        else:
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_result(None)

    async def _handle_once(self, batch: Sequence[_Waiting[T]]) -> None:
        by_id = {waiting.envelope.id: waiting for waiting in batch}
        async with self._database.transaction() as tx:
            ids = sorted(by_id)
            unseen = set(ids) if self._inbox is None else await self._inbox.unseen(tx, self._queue_name, ids)
            fresh = [(waiting.item, waiting.envelope) for waiting in by_id.values() if waiting.envelope.id in unseen]
            if fresh:
                await self._handle_batch(tx, fresh)
