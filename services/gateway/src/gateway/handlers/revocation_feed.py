"""Keeps the revoked set up to date: events, and reads from accounts twice a second and after each reconnect.

Each connection has an exclusive queue with a new name, because after a network cut the old one stays locked until the broker
notices. Events that came while there was no queue are covered by the read that follows each connect.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from math import isinf
from uuid import uuid4

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from pydantic import SecretStr, ValidationError
from yarl import URL

from common.cancellation import is_own_cancellation
from common.clock import utc_now
from common.contracts.accounts import ApiKeyRevoked, SessionRevoked
from common.contracts.envelope import Envelope
from common.contracts.registry import parse
from common.errors import Permanent
from common.messaging.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, probe
from common.messaging.staying_connected import stay_connected
from common.messaging.topology import EVENTS
from gateway.metrics import REVOCATION_DELAY, REVOCATIONS_AGE, REVOCATIONS_FRESH
from gateway.security.revocations import API_KEY_MEMORY, Revocation, RevokedSet

READ_EVERY_S = 0.5
"""Always: a broker that hangs, or a relay that cannot send, looks like one with nothing to tell. Reading takes time as well, and
what was revoked has to count within a second."""
RECONNECT_MAX_S = 1.0
START_PATIENCE_S = 2.0
_CLOSE_TIMEOUT_S = 2.0

Reader = Callable[[], AsyncIterator[list[Revocation]]]

_log = structlog.get_logger(__name__)


def revocation_of(envelope: Envelope) -> Revocation:
    """Return what an event revokes; raises `Permanent` when it is not such an event."""
    if envelope.key == SessionRevoked.KEY:
        session = parse(envelope, SessionRevoked)
        return Revocation("session", session.session_id, session.tokens_expire_at)
    if envelope.key == ApiKeyRevoked.KEY:
        return Revocation("api_key", parse(envelope, ApiKeyRevoked).api_key_id, _api_key_forgotten())
    raise Permanent(f"unknown event {envelope.key}")


def _api_key_forgotten() -> datetime:
    return utc_now() + API_KEY_MEMORY


class RevocationFeed:
    """A component that feeds a `RevokedSet`; it never ends by itself, and readiness tells when the set is stale.

    `read` gives, in pages, everything revoked whose tokens may still live; it raises when accounts does not answer. Only when all
    of it was read, the set is up to date.
    """

    def __init__(self, url: SecretStr, *, instance: str, revoked: RevokedSet, read: Reader) -> None:
        self._url = url
        self._name = f"gateway.revocations.{instance}"
        self._revoked = revoked
        self._read = read
        self._connection: AbstractConnection | None = None
        self._connection_number = 0
        self._read_on: int | None = None
        self._live = False
        self._read_so_far = 0
        self._wake = asyncio.Event()
        self._first_read = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start listening and reading in the background; waits up to 2 s for the first read."""
        REVOCATIONS_AGE.set_function(lambda: self._revoked.read_ago)
        REVOCATIONS_FRESH.set_function(lambda: float(self._revoked.fresh))
        self._tasks = [
            asyncio.create_task(
                stay_connected(self._name, self._listen_once, at_most=RECONNECT_MAX_S), name="revocations-listen"
            ),
            asyncio.create_task(self._keep_reading(), name="revocations-read"),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(START_PATIENCE_S):
                await self._first_read.wait()

    async def stop(self) -> None:
        """Disconnect and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def healthy(self) -> str | None:
        """Return None, or why revocations are not known."""
        if self._revoked.fresh:
            return None
        if isinf(self._revoked.read_ago) and self._read_so_far:
            return f"revocations not known yet: {self._read_so_far} were read so far"
        if self._live:
            return f"revocations unknown: accounts has not answered for {self._revoked.read_ago:.0f} s"
        return "revocations unknown: neither broker nor accounts answers"

    async def _listen_once(self) -> None:
        """Connect, bind a queue, ask for a read, and return when the connection is lost."""
        connection = await aio_pika.connect(
            URL(self._url.get_secret_value()).update_query(heartbeat=HEARTBEAT_S),
            timeout=CONNECT_TIMEOUT_S,
            client_properties={"connection_name": self._name},
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                lost = await self._bind(connection)
            self._connection_number += 1
            self._connection = connection
            self._wake.set()
            await lost.wait()
        finally:
            self._connection = None
            self._set_live(False)
            self._wake.set()
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await connection.close()

    async def _bind(self, connection: AbstractConnection) -> asyncio.Event:
        lost = asyncio.Event()

        def on_close(*_: object) -> None:
            lost.set()

        connection.close_callbacks.add(on_close)
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(on_close)
        exchange = await channel.declare_exchange(EVENTS.name, type="topic", durable=True)
        queue = await channel.declare_queue(f"{self._name}.{uuid4().hex}", exclusive=True)
        for key in (SessionRevoked.KEY, ApiKeyRevoked.KEY):
            await queue.bind(exchange, routing_key=key)
        await queue.consume(self._receive, no_ack=True)
        return lost

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        try:
            envelope = Envelope.model_validate_json(message.body)
            self._revoked.add([revocation_of(envelope)])
            REVOCATION_DELAY.observe(max((utc_now() - envelope.time).total_seconds(), 0.0))
        except (ValidationError, Permanent):
            _log.exception("revocation_invalid")
            self._wake.set()

    async def _keep_reading(self) -> None:
        while True:
            number = self._connection_number if self._connection is not None else None
            try:
                await self._read_all()
            except Exception as error:  # noqa: BLE001 - supervised: logged, shown by healthy(), tried again
                _log.warning("revocations_not_read", reason=type(error).__name__)
                answers = await self._broker_answers()
                if not answers:
                    # What was revoked meanwhile was told without the broker, to those who read: so must this gateway first.
                    self._read_on = None
            else:
                self._revoked.mark_read()
                self._first_read.set()
                self._read_on, answers = number, True
            connected = self._connection is not None and self._read_on == self._connection_number
            self._set_live(connected and answers)
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_EVERY_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _read_all(self) -> None:
        async for page in self._read():
            self._revoked.add(page)
            self._read_so_far += len(page)

    async def _broker_answers(self) -> bool:
        """Tell whether events can still come: an open connection alone does not prove it."""
        connection = self._connection
        if connection is None:
            return False
        try:
            return await probe(connection) is None
        except asyncio.CancelledError:
            # Losing the connection cancels what waits on it.
            if is_own_cancellation():
                raise
            return False

    def _set_live(self, live: bool) -> None:
        self._live = live
        self._revoked.mark_live(live)
