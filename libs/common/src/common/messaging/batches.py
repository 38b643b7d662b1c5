"""Batch handling: many messages of one queue in one transaction, and one by one when that fails, so that one stops no other."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from common.contracts.envelope import Envelope
from common.database.database import Database, Transaction
from common.messaging.inbox import Inbox
from common.messaging.incoming import read_envelope, require_own_key
from common.messaging.patience import BUSY_TRIES, until_database_answers

T = TypeVar("T")

Decode = Callable[[Envelope], T]
HandleBatch = Callable[[Transaction, Sequence[tuple[T, Envelope]]], Awaitable[None]]
Message = tuple[T, Envelope]


class BatchHandler(Generic[T]):
    """Handles messages of one queue.

    `decode` turns an envelope into what `handle` takes and raises `Permanent` for what it cannot; `handle` sees each message once
    (inbox), in no promised order. Without an inbox it sees redeliveries too, and its effect deduplicates by the envelope's id.
    `busy_tries` is how often a message is tried in place while the database is busy, before it goes to a retry tier.
    """

    def __init__(
        self,
        queue: str,
        database: Database,
        inbox: Inbox | None,
        *,
        decode: Decode[T],
        handle: HandleBatch[T],
        busy_tries: int = BUSY_TRIES,
    ) -> None:
        self._queue = queue
        self._database = database
        self._inbox = inbox
        self._decode = decode
        self._handle = handle
        self._busy_tries = busy_tries

    def read(self, body: bytes, routing_key: str) -> Message[T]:
        """Return a message's content; raises `Permanent` when it cannot be read, or came by a key that is not its own."""
        envelope = read_envelope(body)
        content = self._decode(envelope)
        require_own_key(envelope, routing_key, self._queue)
        return content, envelope

    async def handle(self, messages: Sequence[Message[T]]) -> Sequence[Exception | None]:
        """Handle all in one transaction, waiting while the database is away; returns for each None or why it failed."""
        if not messages:
            return []
        is_alone = len(messages) == 1
        try:
            await until_database_answers(lambda: self._once(messages), busy_tries=self._busy_tries if is_alone else 0)
        except Exception as error:  # noqa: BLE001 - told to whoever settles the message
            if is_alone:
                return [error]
            return [outcome for message in messages for outcome in await self.handle([message])]
        return [None] * len(messages)

    async def _once(self, messages: Sequence[Message[T]]) -> None:
        by_id = {envelope.id: (item, envelope) for item, envelope in messages}
        async with self._database.transaction() as tx:
            ids = sorted(by_id)
            unseen = set(ids) if self._inbox is None else await self._inbox.unseen(tx, self._queue, ids)
            fresh = [message for identity, message in by_id.items() if identity in unseen]
            if fresh:
                await self._handle(tx, fresh)
