"""A whole scheduler in the test process: real PostgreSQL and RabbitMQ, neighbours played by a mock transport."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import av.video
import httpx
import pytest
import pytest_asyncio

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.message import Command, Event
from common.contracts.scheduler import CreatePost, GivenFields, UpdatePost
from common.database.database import Transaction
from common.ids import uuid7
from common.messaging.command_client import CommandClient
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.reply import Reply
from common.messaging.topology import EVENTS, work_queue
from common.testing.amqp import broker_channel
from common.testing.broker_queues import QueueRecorder
from common.testing.http_server import serving
from common.testing.keys import ServiceKeys, UserKeys
from scheduler.app import wire
from scheduler.domain.post import Post
from scheduler.settings import Settings
from scheduler.usecases.waker import Waker

Make = Callable[..., Path]


@dataclass
class Neighbours:
    """Plays accounts, publisher and analytics; `answers` maps `METHOD host path` to (status, body); the rest is away."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key = f"{request.method} {request.url.host} {request.url.path}"
        self.asked.append(key)
        if key not in self.answers:
            raise httpx.ConnectError("nobody listens", request=request)
        status, body = self.answers[key]
        if status >= 400:
            problem = {"type": "about:blank", "status": status, "code": "refused", "detail": "", **body}
            return httpx.Response(status, json=problem, headers={"content-type": "application/problem+json"})
        return httpx.Response(status, json=body)


@dataclass
class Intake:
    """The publisher's intake queue of a given length, None while it is not there."""

    length: int | None = 0
    asked: int = 0

    async def waiting(self) -> int | None:
        """Return how many messages wait."""
        self.asked += 1
        return self.length


@dataclass
class Running:
    """A running scheduler, and the means to talk to it."""

    url: str
    client: CommandClient
    publisher: MessagePublisher
    neighbours: Neighbours
    user_keys: UserKeys
    storage: Path

    async def command(
        self, message: Command, user_id: UUID, *, command_id: UUID | None = None, time: datetime | None = None, body: str = "h"
    ) -> Reply:
        """Send a command as the gateway would and return the reply."""
        context = Context(user_id=user_id, actor=f"user:{user_id}", correlation_id="test")
        envelope = wrap(
            message,
            service="gateway",
            subject="x",
            context=context,
            envelope_id=command_id or uuid7(),
            time=time,
            request_hash=body,
        )
        return await self.client.call(envelope)

    async def event(self, message: Event, service: str, subject: UUID, user_id: UUID, sequence: int, **fields: Any) -> None:
        """Publish an event of another service."""
        context = Context(user_id=user_id, actor=f"service:{service}")
        envelope = wrap(message, service=service, subject=str(subject), context=context, sequence=sequence, **fields)
        await self.publisher.publish(Outgoing(envelope.to_bytes(), routing_key=envelope.key, exchange=EVENTS))

    async def get(self, path: str, user_id: UUID, **arguments: Any) -> httpx.Response:
        """GET as a user."""
        async with httpx.AsyncClient(base_url=self.url, timeout=10, trust_env=False) as http:
            return await http.get(path, headers=self.user_keys.authorization(user_id), **arguments)


@pytest.fixture
def make_video(tmp_path: Path) -> Make:
    """Return a function that writes a real video and returns its path."""

    def make(
        name: str = "good.mp4",
        *,
        width: int = 360,
        height: int = 640,
        fps: int = 30,
        frames: int = 30,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream(codec, rate=fps)
            assert isinstance(stream, av.video.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            frame = av.VideoFrame(width, height, "yuv420p")
            for number in range(frames):
                for plane in frame.planes:
                    plane.update(bytes([(number * 7) % 256]) * plane.buffer_size)
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def intake() -> Intake:
    """Return an intake queue in which nothing waits."""
    return Intake()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def settings(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq_url: str,
    service_keys: ServiceKeys,
    database_url: Callable[[str], Awaitable[str]],
) -> Settings:
    """Return the settings of a scheduler under test; the file of `World.media` is in its storage."""
    store = tmp_path_factory.mktemp("store")
    (store / "media").mkdir()
    (store / "media" / "a.mp4").write_bytes(b"x")
    return Settings(
        database_url=await database_url("scheduler"),
        amqp_url=rabbitmq_url,
        storage_url=f"file://{store}",
        accounts_url="http://accounts",
        publisher_url="http://publisher",
        analytics_url="http://analytics",
        service_private_key=service_keys.private_text("scheduler"),
        service_public_keys=service_keys.public_texts(),
        shutdown_grace_seconds=4,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running_scheduler(settings: Settings, user_keys: UserKeys, queue_recorder: QueueRecorder) -> AsyncIterator[Running]:
    """Start a scheduler for the tests of a file; its queues are deleted after them."""
    neighbours = Neighbours()
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(broker_channel(settings.amqp_url.get_secret_value()))
        intake = work_queue("publisher.post_due")
        await channel.declare_queue(intake.name, durable=True, arguments=intake.arguments)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.MockTransport(neighbours)))
        url = await stack.enter_async_context(serving(wire(settings, http, user_keys.verifier())))
        publisher = MessagePublisher(settings.amqp_url, service="test")
        client = CommandClient(settings.amqp_url, prefix="gateway.replies", instance="test", timeout=20)
        for component in (publisher, client):
            await component.start()
            stack.push_async_callback(component.stop)
        yield Running(url, client, publisher, neighbours, user_keys, Path(settings.storage_url.removeprefix("file://")))
    await queue_recorder.delete_all(settings.amqp_url.get_secret_value())


@pytest.fixture
def scheduler(running_scheduler: Running, world: Any) -> Running:
    """Return the running scheduler with an empty database and neighbours that are away."""
    running_scheduler.neighbours.answers.clear()
    running_scheduler.neighbours.asked.clear()
    return running_scheduler


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Return the posts for which the due loop was woken after their commit, as they come."""
    woken: list[UUID] = []
    wake_for = Waker.wake_for

    def noting(waker: Waker, tx: Transaction, post: Post) -> None:
        def wake() -> None:
            woken.append(post.id)
            waker._wake()

        wake_for(Waker(wake), tx, post)

    monkeypatch.setattr(Waker, "wake_for", noting)
    return woken


@dataclass
class Author:
    """A user with an account and a video who writes posts."""

    scheduler: Running
    user_id: UUID
    account_id: UUID
    media_id: UUID

    def body(self, **fields: Any) -> CreatePost:
        """Return a post that breaks no rule, with other `fields`."""
        return CreatePost.model_validate({**self.plain(), **fields})

    def plain(self) -> dict[str, Any]:
        """Return the fields of a post that breaks no rule."""
        return {
            "tiktok_account_id": self.account_id,
            "media_id": self.media_id,
            "caption": "Hello",
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "scheduled_time": utc_now() + timedelta(hours=1),
        }

    async def create(self, *, envelope: dict[str, Any] | None = None, **fields: Any) -> Reply:
        """Create a post by command."""
        return await self.scheduler.command(self.body(**fields), self.user_id, **(envelope or {}))

    async def post(self, **fields: Any) -> dict[str, Any]:
        """Create a post and return it."""
        reply = await self.create(**fields)
        assert reply.status == 201, reply.body
        assert reply.body is not None
        return reply.body

    async def draft(self, **fields: Any) -> dict[str, Any]:
        """Create a draft of nothing but the given fields and return it."""
        reply = await self.scheduler.command(CreatePost.model_validate({"draft": True, **fields}), self.user_id)
        assert reply.status == 201, reply.body
        assert reply.body is not None
        return reply.body

    async def change(
        self, post: dict[str, Any], *, if_match: list[str] | None = None, envelope: dict[str, Any] | None = None, **fields: Any
    ) -> Reply:
        """Change a post by command."""
        changes = GivenFields.model_validate(fields)
        command = UpdatePost(post_id=UUID(post["id"]), changes=changes, if_match=if_match)
        return await self.scheduler.command(command, self.user_id, **(envelope or {}))

    async def refused(self, code: str, status: int, **fields: Any) -> dict[str, Any]:
        """Create a post that is refused, and return the refusal."""
        reply = await self.create(**fields)
        assert reply.body is not None
        assert (reply.status, reply.body["code"]) == (status, code)
        return reply.body


@pytest.fixture
async def author(world: Any, scheduler: Running) -> Author:
    """Return a user with an account whose creator may post publicly or for himself, and a video."""
    account = await world.account()
    media_id = await world.media(account.user_id)
    path = f"GET accounts /internal/users/{account.user_id}/accounts/{account.id}/creator-info"
    scheduler.neighbours.answers[path] = (200, {"privacy_level_options": ["PUBLIC_TO_EVERYONE", "SELF_ONLY"]})
    return Author(scheduler, account.user_id, account.id, media_id)
