"""Asking other services over RabbitMQ: commands out with confirms, replies in on an own queue, futures by correlation id.

FastStream's own `request()` holds one lock per broker, so one slow reply would stop all others; hence this client on plain
aio-pika. Each connection has an exclusive reply queue with a new name, because after a network cut the old one stays locked
until the broker notices.

    reply in time                                     the reply
    confirmed, no reply in time                       CommandAccepted: it is durable and will run
    sent, confirm lost                                CommandAccepted, not confirmed: sent again after the reconnect until confirmed
                                                      (same id, so it has one effect), but by this process alone: who must not
                                                      lose it keeps it elsewhere
    not sent, refused, or returned as unroutable      CommandUnavailable: nothing was accepted
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from pydantic import SecretStr, ValidationError
from yarl import URL

from common.cancellation import is_own_cancellation
from common.contracts.envelope import Envelope
from common.messaging.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, probe
from common.messaging.publisher import CONFIRM_TIMEOUT_S, Outgoing
from common.messaging.reply import Reply
from common.messaging.staying_connected import stay_connected
from common.messaging.topology import COMMANDS

MAX_UNCONFIRMED = 5_000
CLOSE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class CommandAccepted(Exception):
    """The command is durable (`is_confirmed`), or may be, and its reply did not come in time: 202 with a location."""

    def __init__(self, command_id: str, *, is_confirmed: bool) -> None:
        super().__init__(command_id)
        self.is_confirmed = is_confirmed


class CommandUnavailable(Exception):
    """The command was not accepted and will not run: 503, safe to send again."""


@dataclass(slots=True)
class _Link:
    """One connection with what lives on it."""

    connection: AbstractConnection
    exchange: AbstractExchange
    reply_queue: str
    lost: asyncio.Event


class CommandClient:
    """A component that sends commands and waits for their replies.

    `prefix` names the reply queues: `<prefix>.<instance>.<connection>`.
    """

    def __init__(self, url: SecretStr, *, prefix: str, instance: str, timeout: float = 5.0) -> None:
        self._url = url
        self._name = f"{prefix}.{instance}"
        self._timeout = timeout
        self._link: _Link | None = None
        self._futures: dict[str, asyncio.Future[Reply]] = {}
        self._unconfirmed: dict[str, Envelope] = {}
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    async def start(self) -> None:
        """Connect in the background and stay connected; readiness tells when it is not."""
        self._task = asyncio.create_task(stay_connected(self._name, self._connected_once), name="command-client")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), CONNECT_TIMEOUT_S)

    async def stop(self) -> None:
        """Disconnect; callers that still wait get `CommandAccepted`, since what they sent may run."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for future in self._futures.values():
            future.cancel()

    def healthy(self) -> str | None:
        """Return None, or why commands cannot be sent."""
        return None if self._link is not None and not self._link.lost.is_set() else "not connected"

    async def check(self) -> str | None:
        """Return None when the broker answers on this connection within 2 s, else the reason.

        `healthy()` lags behind: a hung broker keeps its connections until heartbeats are missed.
        """
        link = self._link
        if link is None or link.lost.is_set():
            return "not connected"
        try:
            return await probe(link.connection)
        except asyncio.CancelledError:
            # Losing the connection cancels what waits on it.
            if is_own_cancellation():
                raise
            return "connection lost"

    async def call(self, envelope: Envelope) -> Reply:
        """Send a command and return the service's reply.

        Waits for confirm and reply together: a reply proves acceptance. Raises `CommandAccepted` or `CommandUnavailable`.
        """
        link = self._link
        if link is None or link.lost.is_set():
            raise CommandUnavailable("not connected")
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            raise CommandUnavailable("too many commands wait for their confirm")
        correlation_id = str(uuid4())
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._futures[correlation_id] = future
        sending = asyncio.create_task(self._send(link, envelope, correlation_id))
        first_of: set[asyncio.Future[Any]] = {sending, future}
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wait(first_of, return_when=asyncio.FIRST_COMPLETED)
                if not future.done():
                    await sending
                return await future
        except TimeoutError:
            raise self._accepted(envelope, correlation_id) from None
        except asyncio.CancelledError:
            if future.cancelled():
                raise self._accepted(envelope, correlation_id) from None
            raise
        finally:
            self._futures.pop(correlation_id, None)
            if not sending.done():
                sending.add_done_callback(_consume_outcome)

    async def send_again(self, envelope: Envelope) -> None:
        """Send a command that nobody waits for any more, and return when it is confirmed; the operation tells its answer.

        Raises `CommandUnavailable` when it cannot be sent or is not confirmed now: it may be sent again at any time.
        """
        link = self._link
        if link is None or link.lost.is_set():
            raise CommandUnavailable("not connected")
        message = _outgoing(envelope, None, str(uuid4())).to_message()
        try:
            await link.exchange.publish(message, routing_key=envelope.key, mandatory=True, timeout=CONFIRM_TIMEOUT_S)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_own_cancellation():
                raise
            raise CommandUnavailable(f"not confirmed: {type(error).__name__}") from error

    def _accepted(self, envelope: Envelope, correlation_id: str) -> CommandAccepted:
        return CommandAccepted(str(envelope.id), is_confirmed=correlation_id not in self._unconfirmed)

    async def _send(self, link: _Link, envelope: Envelope, correlation_id: str) -> None:
        """Publish; returns when confirmed, or when the outcome is unknown and the command waits to be sent again."""
        message = _outgoing(envelope, link.reply_queue, correlation_id).to_message()
        self._unconfirmed[correlation_id] = envelope
        try:
            # Without a timeout of its own: the caller stops waiting, but a late confirm still counts; a lost link ends it.
            await link.exchange.publish(message, routing_key=envelope.key, mandatory=True)
        except DeliveryError as error:
            self._unconfirmed.pop(correlation_id, None)
            raise CommandUnavailable("refused or unroutable") from error
        except (OSError, TimeoutError, asyncio.CancelledError, aio_pika.exceptions.AMQPError, RuntimeError) as error:
            _log.warning("command_confirm_lost", command=str(envelope.id), reason=type(error).__name__)
        else:
            self._unconfirmed.pop(correlation_id, None)

    async def _connected_once(self) -> None:
        """Connect, resend what was never confirmed, and return when the connection is lost."""
        connection = await aio_pika.connect(
            URL(self._url.get_secret_value()).update_query(heartbeat=HEARTBEAT_S),
            timeout=CONNECT_TIMEOUT_S,
            client_properties={"connection_name": self._name},
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                link = await self._open(connection)
            self._link = link
            self._connected.set()
            await self._resend(link)
            await link.lost.wait()
        finally:
            self._link = None
            self._connected.clear()
            # A connection that went silent does not answer its closing either.
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await connection.close()

    async def _open(self, connection: AbstractConnection) -> _Link:
        lost = asyncio.Event()
        on_close = _setter(lost)
        connection.close_callbacks.add(on_close)
        publishing = await connection.channel(publisher_confirms=True, on_return_raises=True)
        consuming = await connection.channel(publisher_confirms=False)
        for channel in (publishing, consuming):
            channel.close_callbacks.add(on_close)
        exchange = await publishing.declare_exchange(COMMANDS.name, type="topic", durable=True, timeout=CONNECT_TIMEOUT_S)
        queue = await consuming.declare_queue(f"{self._name}.{uuid4().hex}", exclusive=True, timeout=CONNECT_TIMEOUT_S)
        await queue.consume(self._receive, no_ack=True)
        return _Link(connection, exchange, queue.name, lost)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        future = self._futures.get(message.correlation_id or "")
        if future is None or future.done():
            return
        try:
            future.set_result(Reply.model_validate_json(message.body))
        except ValidationError:
            _log.exception("reply_invalid")

    async def _resend(self, link: _Link) -> None:
        """Send what may never have arrived; nobody waits for these replies any more, the operation tells the outcome."""
        for correlation_id, envelope in list(self._unconfirmed.items()):
            message = _outgoing(envelope, None, correlation_id).to_message()
            try:
                await link.exchange.publish(message, routing_key=envelope.key, mandatory=True, timeout=CONFIRM_TIMEOUT_S)
            except DeliveryError:
                _log.error("command_refused_when_sent_again", command=str(envelope.id), key=envelope.key)
            self._unconfirmed.pop(correlation_id, None)


def _outgoing(envelope: Envelope, reply_to: str | None, correlation_id: str) -> Outgoing:
    return Outgoing(
        body=envelope.to_bytes(),
        routing_key=envelope.key,
        message_type=envelope.type,
        timestamp=envelope.time,
        reply_to=reply_to,
        correlation_id=correlation_id,
    )


def _setter(event: asyncio.Event) -> Callable[..., None]:
    def set_event(*_: object) -> None:
        event.set()

    return set_event


def _consume_outcome(task: "asyncio.Task[None]") -> None:
    """Read the outcome of a send nobody waits for, so that it is not reported as never retrieved."""
    if not task.cancelled():
        task.exception()
