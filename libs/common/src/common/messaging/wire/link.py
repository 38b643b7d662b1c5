"""A connection to RabbitMQ that is made again whenever it is lost, with one channel of which we read the frames ourselves."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from aiormq import Channel, Connection
from aiormq.abc import ChannelFrame
from pydantic import SecretStr
from yarl import URL

from common.cancellation import is_own_cancellation
from common.messaging.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, START_PATIENCE_S, answers
from common.messaging.staying_connected import stay_connected
from common.messaging.wire.tap import Tap, TappedTransport

PREPARE_TIMEOUT_S = 30.0
"""For declaring everything: a busy broker takes its time to make quorum queues."""
CLOSE_TIMEOUT_S = 2.0
FRAME_OVERHEAD = 8

_log = structlog.get_logger(__name__)


class Session:
    """One connection's life."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self.connection = connection
        self.channel = channel
        """The tapped channel: the library opens and closes it, and sees neither its confirms nor its deliveries."""
        self.lost = asyncio.Event()

    @property
    def body_limit(self) -> int:
        """How many octets of a body fit into one frame."""
        return self.connection.connection_tune.frame_max - FRAME_OVERHEAD

    async def write(self, frames: bytes) -> None:
        """Queue whole frames of the tapped channel; raises ConnectionError when the connection is lost."""
        if self.lost.is_set():
            raise ConnectionError("the connection is lost")
        await self.connection.write_queue.put(ChannelFrame(payload=frames, should_close=False))


Prepare = Callable[[Session], Awaitable[None]]


class Link:
    """A component: connects with patience at the start, and again whenever the connection or the channel is lost.

    `tap` makes the tap of each new connection; `prepare` declares and consumes what belongs on it, before it is handed out;
    `on_lost` is called once a connection that was handed out is of no use any more.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        name: str,
        tap: Callable[[], Tap],
        prepare: Prepare,
        on_lost: Callable[[], None],
        confirms: bool,
    ) -> None:
        self._url = url
        self._name = name
        self._tap = tap
        self._prepare = prepare
        self._on_lost = on_lost
        self._confirms = confirms
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, trying for a minute while RabbitMQ is not there yet; raises TimeoutError after that."""
        self._task = asyncio.create_task(stay_connected(self._name, self._connected_once), name=f"link:{self._name}")
        try:
            async with asyncio.timeout(START_PATIENCE_S):
                await self._connected.wait()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def connected(self) -> Session:
        """Return the connection, waiting until there is one."""
        while self._session is None:
            await self._connected.wait()
        return self._session

    def drop(self, session: Session) -> None:
        """Give up a connection that does not answer; what was not sent yet is not sent any more."""
        session.lost.set()

    async def check(self) -> str | None:
        """Return None when the broker answers on this connection, else the reason."""
        session = self._session
        if session is None:
            return "not connected"
        try:
            return await answers(session.connection)
        except asyncio.CancelledError:
            # Losing the connection cancels what waits on it.
            if is_own_cancellation():
                raise
            return "connection lost"

    async def _connected_once(self) -> None:
        """Connect, prepare, hand out, and return when the connection is lost."""
        tap = self._tap()
        transport = TappedTransport(tap)
        connection = Connection(
            URL(self._url.get_secret_value()).update_query(heartbeat=HEARTBEAT_S),
            transport_factory=transport,
            client_properties={"connection_name": self._name},
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.connect()
            async with asyncio.timeout(PREPARE_TIMEOUT_S):
                channel = await connection.channel(publisher_confirms=self._confirms)
                assert isinstance(channel, Channel)  # noqa: S101 - narrows the library's abstract type
                session = Session(connection, channel)
                tap.listen(channel.number)
                await self._prepare(session)
            self._session = session
            self._connected.set()
            await _until_lost(session)
            _log.warning("broker_lost", connection=self._name)
        finally:
            if self._session is not None:
                self._session.lost.set()
                self._session = None
                self._connected.clear()
                self._on_lost()
            await _close(connection)
            transport.abort()


async def _until_lost(session: Session) -> None:
    """Wait for the end of connection or channel, or until the session is given up."""
    given_up = asyncio.ensure_future(session.lost.wait())
    try:
        await asyncio.wait(
            {given_up, session.connection.closing, session.channel.closing}, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        given_up.cancel()


async def _close(connection: Connection) -> None:
    """Close, without waiting for long: a connection that went silent does not answer its closing either."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close()
