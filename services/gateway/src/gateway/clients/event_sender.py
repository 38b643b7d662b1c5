"""Publishing an event straight from the edge: the gateway has no database, so it has no outbox."""

import asyncio
from contextlib import suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import ChannelAccessRefused
from pydantic import SecretStr
from yarl import URL

from common.cancellation import is_own_cancellation
from common.contracts.envelope import Envelope
from common.messaging.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S
from common.messaging.publisher import CONFIRM_TIMEOUT_S, Outgoing
from common.messaging.topology import EVENTS

CLOSE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class EventNotSent(Exception):
    """The event was not accepted, or its confirm did not come; sending it again, under the same id, is right."""


class EventRefused(EventNotSent):
    """RabbitMQ lets this gateway send no such event: sending it again is of use only once its rights are others."""


class EventSender:
    """A component with a connection of its own, made when the first event is sent and again after each loss."""

    def __init__(self, url: SecretStr, *, name: str, timeout: float = CONFIRM_TIMEOUT_S) -> None:
        self._url = url
        self._name = name
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._connecting = asyncio.Lock()

    async def start(self) -> None:
        """Nothing to do: it connects when it is used."""

    async def stop(self) -> None:
        """Disconnect."""
        await self._drop(self._exchange)

    async def send(self, envelope: Envelope) -> None:
        """Publish and wait for the confirm: RabbitMQ then has the event in every queue that wants it.

        Raises EventNotSent when RabbitMQ is away, refuses it, or no queue wants it at all, within `timeout` seconds; EventRefused
        when this gateway may not send it.
        """
        exchange: AbstractExchange | None = None
        try:
            async with asyncio.timeout(self._timeout):
                exchange = await self._connected()
                await exchange.publish(_outgoing(envelope).to_message(), routing_key=envelope.key, mandatory=True)
        except DeliveryError as error:
            raise EventNotSent("refused or unroutable") from error
        except (OSError, TimeoutError, AMQPError, RuntimeError, asyncio.CancelledError) as error:
            # A stuck connection cancels what waits on it; only a cancellation of this very task is a stop.
            if isinstance(error, asyncio.CancelledError) and is_own_cancellation():
                raise
            _log.warning("event_not_confirmed", key=envelope.key, id=str(envelope.id), reason=type(error).__name__)
            await self._drop(exchange)
            kind = EventRefused if isinstance(error, ChannelAccessRefused) else EventNotSent
            raise kind(type(error).__name__) from error

    async def _connected(self) -> AbstractExchange:
        async with self._connecting:
            if self._exchange is not None and self._channel is not None and not self._channel.is_closed:
                return self._exchange
            await self._close()
            connection = await aio_pika.connect(
                URL(self._url.get_secret_value()).update_query(heartbeat=HEARTBEAT_S),
                timeout=CONNECT_TIMEOUT_S,
                client_properties={"connection_name": self._name},
            )
            self._connection = connection
            self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._exchange = await self._channel.declare_exchange(EVENTS.name, type="topic", durable=True)
            return self._exchange

    async def _drop(self, exchange: AbstractExchange | None) -> None:
        """Close the connection behind `exchange`, unless another one has taken its place."""
        async with self._connecting:
            if exchange is None or exchange is self._exchange:
                await self._close()

    async def _close(self) -> None:
        connection, self._connection, self._channel, self._exchange = self._connection, None, None, None
        if connection is None:
            return
        # A connection that went silent does not answer its closing either.
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await connection.close()


def _outgoing(envelope: Envelope) -> Outgoing:
    return Outgoing(
        body=envelope.to_bytes(),
        routing_key=envelope.key,
        message_type=envelope.type,
        timestamp=envelope.time,
    )
