"""Looking at RabbitMQ from a test: open a channel, put a message into a queue, take the next one out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from common.contracts.envelope import Envelope


class Startable(Protocol):
    """What has a life: a component."""

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End."""


@asynccontextmanager
async def broker_channel(url: str) -> AsyncIterator[AbstractChannel]:
    """Open a connection and a channel with confirms; both close with the block."""
    connection = await aio_pika.connect(url)
    async with connection, connection.channel(on_return_raises=True) as channel:
        yield channel


@asynccontextmanager
async def running(*components: Startable) -> AsyncIterator[None]:
    """Start in order, stop in reverse."""
    started: list[Startable] = []
    try:
        for component in components:
            await component.start()
            started.append(component)
        yield
    finally:
        for component in reversed(started):
            await component.stop()


async def next_message(channel: AbstractChannel, queue: str, timeout: float = 10.0) -> AbstractIncomingMessage:
    """Wait for the next message of a queue and acknowledge it."""
    arrived: asyncio.Future[AbstractIncomingMessage] = asyncio.get_running_loop().create_future()

    async def take(message: AbstractIncomingMessage) -> None:
        if arrived.done():
            await message.nack(requeue=True)
        else:
            arrived.set_result(message)
            await message.ack()

    declared = await channel.declare_queue(queue, passive=True)
    tag = await declared.consume(take)
    try:
        return await asyncio.wait_for(arrived, timeout)
    finally:
        await declared.cancel(tag)


async def send(channel: AbstractChannel, queue: str, body: bytes | Envelope, **properties: Any) -> None:
    """Put a message into a queue through the default exchange, as the queue's owner passes one on: it says who sent it."""
    raw = body.to_bytes() if isinstance(body, Envelope) else body
    named = {"user_id": channel._connection.url.user, **properties}  # type: ignore[attr-defined]  # noqa: SLF001
    message = aio_pika.Message(raw, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **named)
    await channel.default_exchange.publish(message, routing_key=queue, mandatory=True)
