"""Hears every event while a live stream is open, on a queue of its own that lives no longer than its connection."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import aio_pika
import orjson
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError
from pydantic import SecretStr
from yarl import URL

from common.cancellation import is_own_cancellation
from common.clock import utc_now
from common.errors import Problem
from common.messaging.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, PROBE_TIMEOUT_S
from common.messaging.topology import EVENTS, dead_letter_name, retries_of
from gateway.domain.closing import RESTARTING
from gateway.domain.live_event import live_event
from gateway.usecases.live_streams import LiveStreams
from gateway.usecases.trail_proof import TrailQueue

ANALYTICS_QUEUE = "analytics.all_events"
LOOK_EVERY_S = 1.0
MAX_BEHIND = 5_000
"""Messages; with more waiting, this process is too slow for what comes. It starts on an empty queue instead, and the streams read
what they missed from the trail."""
MAX_BYTES = 32 * 1024 * 1024
"""What may wait in the broker; beyond that it drops the oldest, and the same is done as with too many."""
DROPPED = "dropped"
"""How the name of the queue ends that keeps the last message that was dropped, for this process to see that one was."""
IDLE_S = 60.0
"""The queue stays bound so long after the last stream has ended."""
OPEN_PATIENCE_S = 5.0
RECONNECT_FIRST_S = 0.1
RECONNECT_MAX_S = 1.0
_CLOSE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class LiveFeed:
    """A component that gives events to `streams`; after a loss of the connection they are told since when some may be missing."""

    def __init__(self, url: SecretStr, *, instance: str, streams: LiveStreams) -> None:
        self._url = URL(url.get_secret_value()).update_query(heartbeat=HEARTBEAT_S)
        self._name = f"gateway.live.{instance}"
        self._streams = streams
        self._stopping = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._bound = asyncio.Event()
        self._heard_until: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def end_with(self, stopping: asyncio.Event) -> None:
        """End the streams once `stopping` is set, so that their clients go elsewhere before the process ends."""
        self._stopping = stopping

    async def start(self) -> None:
        """Do nothing: it connects when the first stream is opened."""

    async def stop(self) -> None:
        """Disconnect and end."""
        self._streams.end(RESTARTING)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribed(self) -> None:
        """Return once events come; Problem 503 `stream_unavailable` when RabbitMQ does not answer within 5 s."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="live-feed")
        try:
            async with asyncio.timeout(OPEN_PATIENCE_S):
                await self._bound.wait()
        except TimeoutError:
            raise Problem(
                503,
                "stream_unavailable",
                "Events cannot be followed at the moment.",
                hint="Try again in a few seconds.",
                headers={"Retry-After": "2"},
            ) from None

    async def trail_queue(self) -> TrailQueue | None:
        """Return who stores what is in the queue of analytics, and what did not get through it; None when that cannot be asked."""
        connection = self._connection
        if connection is None:
            return None
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S), connection.channel(publisher_confirms=False) as channel:
                declared = await channel.declare_queue(ANALYTICS_QUEUE, passive=True)
                waiting = [await _depth(channel, queue) for queue in retries_of(ANALYTICS_QUEUE)]
                dead = await _depth(channel, dead_letter_name(ANALYTICS_QUEUE))
                return TrailQueue(declared.declaration_result.consumer_count or 0, sum(waiting), dead)
        except (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            # A connection that is lost cancels what waits on it; only a cancellation of this very task is a stop.
            if isinstance(error, asyncio.CancelledError) and is_own_cancellation():
                raise
            _log.warning("trail_queue_unknown", reason=type(error).__name__)
            return None

    async def _listen(self) -> None:
        """Stay connected until no stream has been open for a while."""
        failures = 0
        while True:
            try:
                await self._listen_once()
            except (Exception, asyncio.CancelledError) as error:
                # A stuck connection cancels what waits on it; only a cancellation of this very task is a stop.
                if isinstance(error, asyncio.CancelledError) and is_own_cancellation():
                    raise
                failures += 1
                _log.warning("live_disconnected", reason=type(error).__name__, failures=failures)
            else:
                self._heard_until = None
                if not len(self._streams):
                    return
                # One was opened while the connection was being closed: it waits for the next connection.
                failures = 0
                continue
            self._end_what_must_not_go_on()
            await asyncio.sleep(min(RECONNECT_MAX_S, RECONNECT_FIRST_S * 2 ** min(failures, 5)))

    async def _listen_once(self) -> None:
        """Connect, bind and watch; returns when nobody listens any more, raises when the connection is lost or behind."""
        connection = await aio_pika.connect(
            self._url, timeout=CONNECT_TIMEOUT_S, client_properties={"connection_name": self._name}
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                channel, queue = await self._bind(connection)
                self._connection = connection
                # Before the first event comes: what was missed goes before it.
                if self._heard_until is not None:
                    self._streams.missed_since(self._heard_until)
                else:
                    self._heard_until = utc_now()
                await queue.consume(self._receive, no_ack=True)
            self._bound.set()
            await self._watch(channel, queue.name)
        finally:
            self._bound.clear()
            self._connection = None
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await connection.close()

    async def _bind(self, connection: AbstractConnection) -> tuple[AbstractChannel, AbstractQueue]:
        """Return a queue to which every event comes from now on, and next to it one that tells when any was dropped from it."""
        channel = await connection.channel(publisher_confirms=False)
        exchange = await channel.declare_exchange(EVENTS.name, type="topic", durable=True)
        name = f"{self._name}.{uuid4().hex}"
        dropped = await channel.declare_queue(f"{name}.{DROPPED}", exclusive=True, arguments={"x-max-length": 1})
        bound: dict[str, Any] = {
            "x-max-length-bytes": MAX_BYTES,
            "x-overflow": "drop-head",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dropped.name,
        }
        queue = await channel.declare_queue(name, exclusive=True, arguments=bound)
        await queue.bind(exchange, routing_key="#")
        return channel, queue

    async def _watch(self, channel: AbstractChannel, queue: str) -> None:
        """Look every second whether events still come and are kept up with."""
        idle_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            asked_at = utc_now()
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                behind = await _depth(channel, queue)
                dropped = await _depth(channel, f"{queue}.{DROPPED}")
            if dropped or behind > MAX_BEHIND:
                raise ConnectionError(f"{behind} events behind, {'some' if dropped else 'none'} dropped")
            if behind == 0:
                self._heard_until = asked_at
            self._end_what_must_not_go_on()
            if len(self._streams):
                idle_since = None
            elif idle_since is None:
                idle_since = loop.time()
            elif loop.time() - idle_since > IDLE_S:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def _end_what_must_not_go_on(self) -> None:
        self._streams.end_unless_known()
        if self._stopping.is_set():
            self._streams.end(RESTARTING)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        try:
            event = live_event(orjson.loads(message.body))
        except (KeyError, TypeError, ValueError, AttributeError):
            _log.warning("live_event_unreadable", key=message.routing_key)
            return
        if event is not None:
            self._streams.put(event)


async def _depth(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
