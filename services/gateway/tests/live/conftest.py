"""Clients of the live stream, events to follow, and a trail as analytics would tell it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import httpx
import orjson
import pytest
import pytest_asyncio
from fastapi import Request, Response

from common.clock import utc_now
from common.contracts.accounts import AccountUpdated, SessionRevoked
from common.contracts.analytics import ConfirmStored
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.http.json_response import json_response
from common.messaging.reply import Reply
from common.messaging.topology import COMMANDS, EVENTS, held_back_in
from common.testing.amqp import broker_channel as broker_channel_of
from common.testing.amqp import send
from gateway.handlers import live_feed
from gateway.handlers.live_feed import ANALYTICS_QUEUE
from gateway.usecases import follow_events

PATH, INTERNAL = "/api/v1/events", "/internal/events"


@dataclass
class Frame:
    """One event as a client reads it."""

    name: str
    data: dict[str, Any]
    id: str | None


class Reading:
    """A client that reads a stream frame by frame; comments are counted."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.heartbeats = 0
        self._lines = answer.aiter_lines()

    async def next(self) -> Frame:
        """Return the next event."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.heartbeats += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                return Frame(fields["event"], orjson.loads(fields["data"]), fields.get("id"))
            else:
                fields.clear()
        raise EOFError

    async def rest(self) -> list[Frame]:
        """Return what comes until the stream has ended."""
        frames = []
        while True:
            try:
                frames.append(await self.next())
            except EOFError:
                return frames


def _made(user_id: UUID, *, time: datetime | None = None, text: str = "name") -> Envelope:
    """Return an event of a user's account."""
    event = AccountUpdated(
        account_id=uuid4(),
        user_id=user_id,
        tiktok_user_id="open-id",
        username="somebody",
        display_name=text,
        status="active",
        scopes=[],
    )
    context = Context(user_id=user_id, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    return wrap(event, service="accounts", subject=str(event.account_id), context=context, time=time)


@dataclass
class Trail:
    """Answers the gateway's questions about the past."""

    events: list[Envelope] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    since: str = "2026-01-01T00:00:00Z"
    page: int = 500
    failing: bool = False
    left_out: bool = False
    before_answer: Callable[[], Awaitable[None]] | None = None

    async def answer(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        if self.failing:
            return json_response({}, status=503)
        if self.before_answer is not None:
            await self.before_answer()
        above, upto = int(asked["above"]), int(asked.get("upto", len(self.events)))
        found = self.events[above:upto]
        if "after_id" in asked:
            ids = [str(event.id) for event in found]
            found = found[ids.index(asked["after_id"]) + 1 :]
        items = [orjson.loads(event.to_bytes()) for event in found[: self.page]]
        told = {"upto": upto, "has_more": len(found) > self.page, "left_out": self.left_out and "after_id" not in asked}
        return json_response({"items": items, "since": self.since, **told})


@pytest.fixture
def made() -> Callable[..., Envelope]:
    """Return a function that makes an event of a user's account."""
    return _made


@pytest.fixture
def revoke(emit: Any) -> Callable[[str], Awaitable[None]]:
    """Return a function that revokes a session, as accounts tells it."""

    async def revoked(session_id: str) -> None:
        expire_at = utc_now() + timedelta(hours=1)
        await emit(SessionRevoked(session_id=UUID(session_id), user_id=uuid4(), reason="logout", tokens_expire_at=expire_at))

    return revoked


@pytest.fixture
def trail(services: Any) -> Trail:
    trail = Trail()
    services.answers["GET", INTERNAL] = trail.answer
    return trail


@dataclass
class Keeper:
    """Consumes the queue of analytics as its replicas do, in order: keeps events in the trail and answers questions behind them.

    While `may_store` is not set, what it has in hand stays there, as with a database that is away; `got` counts what it got.
    """

    channel: Any
    trail: Trail
    queue: Any = None
    name: str = field(default_factory=lambda: uuid4().hex)
    may_store: asyncio.Event = field(default_factory=asyncio.Event)
    in_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    everything: bool = True
    failed: int = 0
    got: int = 0
    questions: int = 0

    async def begin(self) -> None:
        """Consume."""
        self.may_store.set()
        await self.channel.set_qos(prefetch_count=100)
        self.queue = await self.channel.declare_queue(ANALYTICS_QUEUE, durable=True)
        for name in held_back_in(ANALYTICS_QUEUE):
            await self.channel.declare_queue(name, durable=True)
        await self.queue.bind(COMMANDS.name, ConfirmStored.KEY)
        await self.queue.consume(self.take)

    async def take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.got += 1
        async with self.in_turn:
            await self.may_store.wait()
            if message.routing_key == ConfirmStored.KEY:
                self.questions += 1
                reply = Reply(status=200, body={"consumer": self.name, "everything": self.everything, "failed": self.failed})
                answer = aio_pika.Message(reply.model_dump_json().encode(), correlation_id=message.correlation_id)
                await self.channel.default_exchange.publish(answer, routing_key=message.reply_to)
            else:
                self.trail.events.append(Envelope.model_validate_json(message.body))
            await message.ack()


@pytest_asyncio.fixture(loop_scope="session")
async def keepers(rabbitmq_url: str, trail: Trail) -> AsyncIterator[Callable[[], Awaitable[Keeper]]]:
    """Give what starts a replica of analytics; the queue is not bound to events, so that only tests fill it."""
    async with AsyncExitStack() as opened:

        async def start() -> Keeper:
            keeper = Keeper(await opened.enter_async_context(broker_channel_of(rabbitmq_url)), trail)
            await keeper.begin()
            return keeper

        async with broker_channel_of(rabbitmq_url) as channel:
            queues = (ANALYTICS_QUEUE, *held_back_in(ANALYTICS_QUEUE))
            for queue in queues:
                await channel.queue_delete(queue)
            yield start
            for queue in queues:
                await channel.queue_delete(queue)


@pytest_asyncio.fixture(loop_scope="session")
async def keeper(keepers: Any) -> Keeper:
    return await keepers()


@pytest.fixture
def hand_over(broker_channel: Any) -> Callable[..., Awaitable[None]]:
    """Return a function that puts events into the queue of analytics."""

    async def publish(*envelopes: Envelope) -> None:
        for envelope in envelopes:
            await send(broker_channel, ANALYTICS_QUEUE, envelope)

    return publish


@pytest.fixture
def tell(broker_channel: Any) -> Callable[..., Awaitable[None]]:
    """Return a function that publishes events as relays do."""

    async def publish(*envelopes: Envelope) -> None:
        exchange = await broker_channel.declare_exchange(EVENTS.name, type="topic", durable=True)
        for envelope in envelopes:
            await exchange.publish(aio_pika.Message(envelope.to_bytes()), routing_key=envelope.key)

    return publish


@pytest.fixture
def follow() -> Callable[..., AbstractAsyncContextManager[Reading]]:
    """Return a function that opens a stream at a gateway."""

    @asynccontextmanager
    async def opened(client: httpx.AsyncClient, auth: dict[str, str], last: str | None = None) -> AsyncIterator[Reading]:
        headers = auth if last is None else {**auth, "Last-Event-ID": last}
        async with client.stream("GET", PATH, headers=headers, timeout=60) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield Reading(answer)

    return opened


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often at what is waited for."""
    monkeypatch.setattr(follow_events, "SETTLE_S", 0.02)
    monkeypatch.setattr(live_feed, "LOOK_EVERY_S", 0.05)
