"""Declaring exchanges and queues of the topology on a channel of the library."""

from aiormq.abc import AbstractChannel
from faststream.rabbit import RabbitExchange, RabbitQueue
from pamqp.commands import Queue


async def declare_exchange(channel: AbstractChannel, exchange: RabbitExchange) -> None:
    """Make the exchange unless it is there; raises AMQPError when it is there and different."""
    await channel.exchange_declare(exchange.name, exchange_type=exchange.type.value, durable=exchange.durable)


async def declare_queue(channel: AbstractChannel, queue: RabbitQueue) -> Queue.DeclareOk:
    """Make the queue unless it is there, and return how full it is; raises AMQPError when it is there and different."""
    declared = await channel.queue_declare(queue.name, durable=queue.durable, arguments=dict(queue.arguments or {}))
    assert declared is not None  # noqa: S101 - narrows: the answer is waited for
    return declared
