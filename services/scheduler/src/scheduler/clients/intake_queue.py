"""How full the publisher's intake queue is, asked of RabbitMQ."""

import asyncio

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from pydantic import SecretStr

NAME = "publisher.post_due"
PATIENCE_S = 2.0
ASK_AGAIN_S = 0.25
"""Pause after a question without an answer: the due loop would ask many times a second."""
HEARTBEAT_S = 10

_log = structlog.get_logger(__name__)


class PublisherIntake:
    """A component with a connection of its own; a channel per question, because a missing queue closes the channel."""

    def __init__(self, url: SecretStr, *, queue: str = NAME) -> None:
        self._url = url
        self._queue = queue
        self._connection: AbstractConnection | None = None
        self._silent_until = float("-inf")
        self._trouble: str | None = None

    async def start(self) -> None:
        """Do nothing: the connection is made when first needed."""

    async def stop(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def waiting(self) -> int | None:
        """Return how many messages are ready, None while the queue is not there or RabbitMQ does not answer.

        Posts then stay scheduled: nobody would receive them, and their owner may still change them.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                waiting = await self._ask()
        except ChannelNotFoundEntity:
            self._note("the queue does not exist")
        except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
            self._note(type(error).__name__)
            await self._drop()
        else:
            self._note(None)
            return waiting
        self._silent_until = loop.time() + ASK_AGAIN_S
        return None

    def _note(self, trouble: str | None) -> None:
        """Log changes only: the same trouble is met several times a second."""
        if trouble != self._trouble:
            self._trouble = trouble
            tell = _log.info if trouble is None else _log.warning
            tell("publisher_queue", queue=self._queue, trouble=trouble)

    async def _ask(self) -> int:
        if self._connection is None or self._connection.is_closed:
            self._connection = await aio_pika.connect(
                self._url.get_secret_value(), heartbeat=HEARTBEAT_S, client_properties={"connection_name": "scheduler:depth"}
            )
        async with self._connection.channel(publisher_confirms=False) as channel:
            declared = await channel.declare_queue(self._queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await connection.close()
        except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
            _log.info("connection_not_closed", reason=type(error).__name__)
