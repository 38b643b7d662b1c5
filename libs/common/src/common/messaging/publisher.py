"""Publishing with confirms: a call that returns means that RabbitMQ has the message on disk in a quorum of its queues."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.exceptions import DeliveryError
from aiormq.abc import AbstractChannel
from faststream.rabbit import RabbitExchange
from pamqp.commands import Basic
from pydantic import SecretStr

from common.cancellation import is_own_cancellation
from common.contracts.envelope import CONTENT_TYPE
from common.messaging.connection import user_of
from common.messaging.topology import COMMANDS, EVENTS, RETRY_TIERS
from common.messaging.wire.confirms import Confirms, Outcomes
from common.messaging.wire.declare import declare_exchange, declare_queue
from common.messaging.wire.frames import Publication, publish_frames
from common.messaging.wire.link import Link, Session
from common.messaging.wire.tap import Tap

CONFIRM_TIMEOUT_S = 5.0

DEFAULT_EXCHANGE = ""
_DECLARED = frozenset({EVENTS.name, COMMANDS.name, DEFAULT_EXCHANGE})
_log = structlog.get_logger(__name__)


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
    """A component that owns the publishing connection of a service: a channel for single messages, one for many at once.

    `start` connects, patiently, and declares the shared exchanges and retry tiers; `check` tells whether the broker answers.
    """

    def __init__(self, url: SecretStr, *, service: str) -> None:
        self._user = user_of(url)
        self._confirms = Confirms()
        self._single: AbstractChannel | None = None
        self._in_turn = asyncio.Lock()
        self._link = Link(
            url,
            name=f"{service}:publish",
            tap=lambda: Tap(on_confirms=self._confirms.hear),
            prepare=self._prepare,
            on_lost=self._confirms.begin,
            confirms=True,
        )
        self.start = self._link.start
        self.stop = self._link.stop
        self.check = self._link.check

    async def publish(self, message: Outgoing, *, timeout: float = CONFIRM_TIMEOUT_S) -> None:
        """Publish and wait for the confirm.

        Raises `aio_pika.exceptions.DeliveryError` when the broker refused it or a mandatory message had no queue,
        TimeoutError or a connection error when the outcome is unknown.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._link.connected()
                await self._send(message)
        except asyncio.CancelledError as error:
            if is_own_cancellation():
                raise
            # aiormq cancels what waits for a confirm when it finds its connection stuck: nobody cancelled the caller.
            raise ConnectionError("the connection was lost before the confirm") from error

    async def publish_all(self, publications: Sequence[Publication], *, timeout: float = CONFIRM_TIMEOUT_S) -> Outcomes:
        """Publish many at once and wait for their confirms, in all at most `timeout` seconds; tells what became of each.

        For events: without a queue, one counts as confirmed. What cannot be written at all is refused. A connection that does not
        confirm in time is given up, so that what it has not sent yet is not sent later.
        """
        outcomes = Outcomes(len(publications))
        try:
            async with asyncio.timeout(timeout):
                session = await self._link.connected()
                await self._send_all(session, publications, outcomes)
        except OSError as error:
            outcomes.failure = error
        return outcomes

    async def _send(self, message: Outgoing) -> None:
        exchange = message.exchange.name if message.exchange is not None else DEFAULT_EXCHANGE
        ready = message.to_message()
        # What is passed on by its queue's name is taken from its owner alone (`Incoming.require_sender`).
        ready.user_id = self._user
        if not message.mandatory and exchange in _DECLARED:
            outcomes = Outcomes(1)
            publication = Publication(exchange, message.routing_key, ready.body, properties=ready.properties.marshal())
            await self._send_all(await self._link.connected(), [publication], outcomes)
            if outcomes.refused:
                raise DeliveryError(None, Basic.Nack())
            return
        # What may come back, and what may close the channel, goes the library's way.
        assert self._single is not None  # noqa: S101 - it is opened before the connection is handed out
        await self._single.basic_publish(
            ready.body,
            exchange=exchange,
            routing_key=message.routing_key,
            properties=ready.properties,
            mandatory=message.mandatory,
        )

    async def _send_all(self, session: Session, publications: Sequence[Publication], outcomes: Outcomes) -> None:
        frames, places = [], []
        for place, publication in enumerate(publications):
            try:
                _require_declared(publication.exchange)
                frames.append(publish_frames(session.channel.number, publication, session.body_limit))
            except ValueError:
                _log.error("message_cannot_be_written", key=publication.routing_key[:100])
                outcomes.note(place, is_taken=False)
            else:
                places.append(place)
        all_heard = None
        try:
            async with self._in_turn:
                # The broker counts what it gets: nothing may come between counting and queueing.
                all_heard = self._confirms.expect(outcomes, places)
                await session.write(b"".join(frames))
            await all_heard
        except BaseException:
            if all_heard is not None:
                all_heard.cancel()
                self._link.drop(session)
            raise

    async def _prepare(self, session: Session) -> None:
        """Open the channel for single messages, declare what everybody shares."""
        self._confirms.begin()
        channel = await session.connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.closing.add_done_callback(lambda _: self._link.drop(session))
        for exchange in (EVENTS, COMMANDS):
            await declare_exchange(channel, exchange)
        for tier in RETRY_TIERS:
            await declare_exchange(channel, tier.exchange)
            await declare_queue(channel, tier.queue)
            await channel.queue_bind(tier.queue.name, tier.exchange.name, routing_key="")
        self._single = channel


def _require_declared(exchange: str) -> None:
    """Raise ValueError for an exchange that may not exist: publishing to it would close the channel for all others."""
    if exchange not in _DECLARED:
        raise ValueError("unknown exchange")
