"""Connections to RabbitMQ: through FastStream one per prefetch profile for consuming; what all connections have in common.

Publishers and consumers have connections of their own, because RabbitMQ stops reading from a connection that publishes too
fast, which would stop its acknowledgements too. Each broker uses its one default channel, since FastStream caches what it
declared by name and not by channel.
"""

import asyncio
import logging

import aiormq.abc
import structlog
from aio_pika.abc import AbstractConnection, AbstractRobustConnection
from faststream.rabbit import Channel, RabbitBroker
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

CONNECT_TIMEOUT_S = 5.0
HEARTBEAT_S = 10
RECONNECT_INTERVAL_S = 0.5
START_PATIENCE_S = 60.0
PROBE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


def consuming_broker(url: SecretStr, *, prefetch: int, name: str, graceful_timeout: float) -> RabbitBroker:
    """Return a broker whose consumers each hold at most `prefetch` unacknowledged messages."""
    return RabbitBroker(
        url.get_secret_value(),
        default_channel=Channel(prefetch_count=prefetch, publisher_confirms=False),
        timeout=CONNECT_TIMEOUT_S,
        reconnect_interval=RECONNECT_INTERVAL_S,
        graceful_timeout=graceful_timeout,
        client_properties={"heartbeat": HEARTBEAT_S},
        app_id=name,
        logger=None,
        log_level=logging.DEBUG,
        # Handlers take the raw message: no injection, which costs thread hops per message.
        apply_types=False,
    )


async def connect_patiently(broker: RabbitBroker) -> AbstractRobustConnection:
    """Connect, retrying for a minute while RabbitMQ is not there yet; raises the last error after that."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type((OSError, asyncio.TimeoutError)),
        wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
        stop=stop_after_delay(START_PATIENCE_S),
        reraise=True,
    ):
        with attempt:
            return await broker.connect()
    raise AssertionError("unreachable: the last attempt raises")


async def probe(connection: AbstractConnection) -> str | None:
    """Return None when the broker answers on this connection now, else the reason."""
    transport = connection.transport
    return "not connected" if transport is None else await answers(transport.connection)


async def answers(connection: aiormq.abc.AbstractConnection) -> str | None:
    """Return None when the broker answers on this connection of the library below aio-pika, else the reason.

    Opens and closes a channel: a round trip, since the client's own idea of being connected lags behind a cut.
    """
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            channel = await connection.channel(publisher_confirms=False)
            await channel.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the broker does not answer
        return f"broker does not answer: {type(error).__name__}"
    return None
