"""A connection of the client library with a tap: deliveries and confirms of one channel reach us before the library sees them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from common.messaging.wire.frames import Confirm, Delivery, FrameSorter

HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"
TELL_ALIVE_EVERY_S = 1.0


class Tap:
    """What is heard on the tapped channel; calls back from the event loop as bytes arrive, in portions."""

    def __init__(
        self,
        *,
        on_deliveries: Callable[[Sequence[Delivery]], None] | None = None,
        on_confirms: Callable[[Sequence[Confirm]], None] | None = None,
    ) -> None:
        self._on_deliveries = on_deliveries
        self._on_confirms = on_confirms
        self._sorter = FrameSorter()

    def listen(self, channel: int) -> None:
        """Take the deliveries and confirms of this channel from now on; the library does not see them."""
        self._sorter.channel = channel

    def receive(self, data: bytes) -> bytes:
        """Take received bytes, hand on what is ours, return what is the library's."""
        theirs = self._sorter.sort(data)
        if self._sorter.confirms and self._on_confirms is not None:
            confirms, self._sorter.confirms = self._sorter.confirms, []
            self._on_confirms(confirms)
        if self._sorter.deliveries and self._on_deliveries is not None:
            deliveries, self._sorter.deliveries = self._sorter.deliveries, []
            self._on_deliveries(deliveries)
        return theirs


class TappedProtocol(asyncio.StreamReaderProtocol):
    """Feeds the library's reader with what the tap leaves to it."""

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop, tap: Tap) -> None:
        super().__init__(reader, loop=loop)
        self._tap = tap
        self._told_alive_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Take a portion of the stream."""
        theirs = self._tap.receive(data)
        now = time.monotonic()
        if not theirs and now - self._told_alive_at >= TELL_ALIVE_EVERY_S:
            # The library counts the frames it sees, and would believe that a connection as busy as this one were stuck.
            theirs = HEARTBEAT
        if theirs:
            self._told_alive_at = now
            super().data_received(theirs)


class TappedTransport(TransportFactory):
    """Makes the library's connection, TLS included, with the tap in between."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Cut the connection: what waits to be sent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; raises AMQPConnectionError when that fails."""
        contexts = options.pop("ssl_context_provider")
        context = await contexts.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        try:
            transport, protocol = await loop.create_connection(
                lambda: TappedProtocol(reader, loop, self._tap), url.host or "", url.port or 0, ssl=context, **options
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._transport = transport
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
