"""What all connections to RabbitMQ have in common.

Publishers and consumers have connections of their own, because RabbitMQ stops reading from a connection that publishes too
fast, which would stop its acknowledgements too.
"""

import asyncio

import aiormq.abc
from aio_pika.abc import AbstractConnection
from pydantic import SecretStr
from yarl import URL

CONNECT_TIMEOUT_S = 5.0
HEARTBEAT_S = 10
START_PATIENCE_S = 60.0
PROBE_TIMEOUT_S = 2.0


def user_of(url: SecretStr) -> str:
    """Return the broker's user that an address names."""
    return URL(url.get_secret_value()).user or "guest"


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
