"""Publishing with confirms: a call that returns means that RabbitMQ has the message on disk in a quorum of its queues."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractRobustConnection
from faststream.rabbit import RabbitExchange
from pydantic import SecretStr

from common.cancellation import is_own_cancellation
from common.contracts.envelope import CONTENT_TYPE
from common.messaging.connection import connect_patiently, probe, publishing_broker
from common.messaging.topology import COMMANDS, EVENTS, RETRY_TIERS

CONFIRM_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way: body and AMQP properties.

    `message_id` is fresh per publish, never the envelope's id: the same id in flight twice confuses confirms.
    """

    body: bytes
    routing_key: str
    exchange: RabbitExchange | None = None
    mandatory: bool = False
    message_type: str | None = None
    timestamp: datetime | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    persistent: bool = True
    headers: Mapping[str, str | int] = field(default_factory=dict)

    def to_message(self) -> Message:
        """Return the aio-pika message."""
        return Message(
            self.body,
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT if self.persistent else DeliveryMode.NOT_PERSISTENT,
            message_id=str(uuid4()),
            correlation_id=self.correlation_id or str(uuid4()),
            reply_to=self.reply_to,
            type=self.message_type,
            timestamp=self.timestamp or datetime.now(UTC),
            headers=dict(self.headers),
        )


class MessagePublisher:
    """A component that owns the publishing connection of a service."""

    def __init__(self, url: SecretStr, *, service: str) -> None:
        self._broker = publishing_broker(url, name=f"{service}:publish")
        self._connection: AbstractRobustConnection | None = None

    async def start(self) -> None:
        """Connect and declare the shared exchanges and retry tiers."""
        self._connection = await connect_patiently(self._broker)
        for exchange in (EVENTS, COMMANDS):
            await self._broker.declare_exchange(exchange)
        for tier in RETRY_TIERS:
            exchange_object = await self._broker.declare_exchange(tier.exchange)
            queue_object = await self._broker.declare_queue(tier.queue)
            await queue_object.bind(exchange_object, routing_key="")

    async def stop(self) -> None:
        """Close the connection."""
        await self._broker.stop()

    async def check(self) -> str | None:
        """Return None when the broker answers, else why not (readiness)."""
        return await probe(self._connection) if self._connection is not None else "not started"

    async def publish(self, message: Outgoing, *, timeout: float = CONFIRM_TIMEOUT_S) -> None:
        """Publish and wait for the confirm.

        Raises `aio_pika.exceptions.DeliveryError` when the broker refused it or a mandatory message had no queue,
        TimeoutError or a connection error when the outcome is unknown.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._broker.publish(
                    message.to_message(),
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    mandatory=message.mandatory,
                )
        except asyncio.CancelledError as error:
            if is_own_cancellation():
                raise
            # aiormq cancels what waits for a confirm when it finds its connection stuck: nobody cancelled the caller.
            raise ConnectionError("the connection was lost before the confirm") from error
