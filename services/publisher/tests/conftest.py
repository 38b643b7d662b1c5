"""A world for the publisher: the real simulator, a small accounts service, a real database, files, and replicas at will."""

import hashlib
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import func, select, text, update

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.envelope import Envelope
from common.contracts.scheduler import MediaFile, PostContent, PostDue
from common.database import Database
from common.errors import Problem
from common.http.problems import install_problem_handlers
from common.ids import uuid7
from common.messaging.outbox import Outbox
from common.messaging.topology import EVENTS, dead_letter_name
from common.testing.eventually import eventually
from common.testing.forked_programs import ForkedProgram, ForkedPrograms
from common.testing.http_server import serving
from common.testing.kept_outbox import keep_outbox, kept_messages
from common.testing.keys import ServiceKeys
from common.testing.secret_scan import SecretScan
from publisher.app import lanes_of, tools_of
from publisher.clients.http import HttpClients, tiktok_http_client, tiktok_once_client
from publisher.domain.job import State
from publisher.domain.pacing import Limit
from publisher.handlers import accounts as account_news
from publisher.handlers import webhooks
from publisher.handlers.post_due import QUEUE
from publisher.loops.heartbeat import Heartbeat
from publisher.loops.lane_runner import LaneRunner
from publisher.runner.tools import Tools
from publisher.settings import Settings
from publisher.storage import jobs
from publisher.storage.intake import Order
from publisher.storage.job import Job
from publisher.storage.tables import outbox as outbox_rows
from publisher.storage.tables import publish_jobs
from publisher.usecases.accept_due import accept_due
from publisher.usecases.hear_claim import hear_claim
from tiktok.publish_webhooks import publish_claim
from tiktok_simulator.driver import Driver
from tiktok_simulator.settings import Settings as SimulatorSettings
from tiktok_simulator.testing import running_simulator


@dataclass
class FakeAccounts:
    """Hands out the tokens the simulator gave; can be told to refuse."""

    tokens: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    problem: Problem | None = None
    status: str = "active"
    refused: list[str] = field(default_factory=list)
    renewed: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    asked: int = 0
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """Happens after the answer was made and before it is given."""
    scopes: tuple[str, ...] = ()
    disconnected: bool = False
    """Only what is under way gets a token."""

    def app(self) -> FastAPI:
        app = FastAPI()
        install_problem_handlers(app)

        @app.post("/internal/accounts/{account_id}/access-token")
        async def access_token(account_id: UUID, body: dict[str, Any]) -> JSONResponse:
            self.asked += 1
            status = self.status
            if self.meanwhile is not None:
                await self.meanwhile()
            if self.problem is not None:
                raise self.problem
            if self.disconnected and not body.get("under_way"):
                raise Problem(404, "account_not_found", "Gone.")
            if body.get("force_refresh"):
                self.refused.append(body["force_refresh"])
                self.tokens |= self.renewed
            token = self.tokens[account_id]
            expires_at = (utc_now() + timedelta(hours=1)).isoformat()
            return JSONResponse({**token, "expires_at": expires_at, "scopes": self.scopes, "status": status})

        return app


@dataclass
class FakeScheduler:
    """Tells where videos and photos are; `away` while it does not."""

    addresses: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    away: bool = False

    def add_to(self, app: FastAPI) -> FastAPI:
        @app.get("/internal/posts/{post_id}/addresses")
        async def addresses(post_id: UUID) -> JSONResponse:
            if self.away:
                raise Problem(503, "service_unavailable", "Away.", headers={"Retry-After": "1"})
            if post_id not in self.addresses:
                raise Problem(404, "post_not_found", "There is no such post.")
            return JSONResponse(self.addresses[post_id])

        return app


@dataclass
class Replica:
    """A publisher without its broker: lanes, heartbeat, and the tools they use."""

    tools: Tools
    heartbeat: Heartbeat
    lanes: tuple[LaneRunner, ...]


DEPLOY = Path(__file__).parents[3] / "deploy"
"""Where the program is that has crash points."""

_OLDER_CALLS = """
UPDATE tiktok_quotas
SET calls = (SELECT coalesce(array_agg(call - make_interval(secs => :s) ORDER BY call), '{}') FROM unnest(calls) AS call),
    not_before = not_before - make_interval(secs => :s)
"""
_SPENT = """
INSERT INTO tiktok_quotas (owner, name, calls, takers)
SELECT :owner, :name, array_agg(clock_timestamp()), array_agg(gen_random_uuid()) FROM generate_series(1, CAST(:n AS integer))
"""

LEASE_SECONDS = 60.0
"""No machine is busy so long that a lease ends while its holder lives: it ends when a test says so."""
BEAT = timedelta(seconds=0.5)
"""What a beat brings, tests wait for."""
PROCESS_LEASE_SECONDS = 15.0
"""A process beats as its lease wants it, every third of it."""

_FILES: dict[int, tuple[bytes, str]] = {}
"""Bytes and sha256 of the media made so far, by size: making them takes longer than sending them."""


class World:
    """Everything a job needs, and what the tests look at."""

    def __init__(
        self, driver: Driver, simulator: Any, accounts: FakeAccounts, accounts_url: str, database: Database, url: str,
        folder: Path, keys: ServiceKeys, amqp_url: str, scheduler: FakeScheduler,
    ) -> None:  # fmt: skip
        self.driver = driver
        self.simulator = simulator
        self.accounts = accounts
        self.accounts_url = accounts_url
        self.scheduler = scheduler
        self.database = database
        self.database_url = url
        self.folder = folder
        self.keys = keys
        self.amqp_url = amqp_url
        self.heard: list[Envelope] = []
        self.forked_programs: ForkedPrograms
        self.program_log: Callable[[str], Path] = lambda name: folder / f"{name}.log"
        self.outbox = Outbox(outbox_rows, service="publisher", wake=lambda: None)

    async def account(self, username: str = "demo_public") -> UUID:
        account_id = uuid7()
        tokens = await self.driver.connect(username)
        self.accounts.tokens[account_id] = {
            "access_token": tokens["access_token"], "open_id": tokens["open_id"], "username": username,
        }  # fmt: skip
        return account_id

    def media(self, size: int = 1_000_000) -> MediaFile:
        media_id = uuid7()
        if size not in _FILES:
            data = random.Random(size).randbytes(size)
            _FILES[size] = (data, hashlib.sha256(data).hexdigest())
        data, sha256 = _FILES[size]
        (self.folder / f"{media_id}.mp4").write_bytes(data)
        return MediaFile(
            media_id=media_id, storage_key=f"{media_id}.mp4", content_type="video/mp4", size_bytes=size,
            sha256=sha256, duration_ms=10_000,
        )  # fmt: skip

    def post(self, account_id: UUID, media: MediaFile | None, **changes: Any) -> PostDue:
        now = datetime.now(UTC)
        content = {"title": f"a title {uuid7()}", "privacy_level": "PUBLIC_TO_EVERYONE"} | changes.pop("content", {})
        fields: dict[str, Any] = {
            "post_id": uuid7(), "account_id": account_id, "status": "due", "attempt": 1, "user_id": uuid7(), "due_at": now,
            "publish_before": now + timedelta(hours=24), "mode": "direct", "transfer": "upload", "media": media,
        }  # fmt: skip
        source_url, photo_urls = changes.pop("source_url", None), changes.pop("photo_urls", [])
        fields |= {"source_url": source_url and _bare(source_url), "photo_urls": [_bare(url) for url in photo_urls]} | changes
        self.scheduler.addresses[fields["post_id"]] = {"source_url": source_url, "photo_urls": photo_urls}
        return PostDue(**fields, content=PostContent(**content))

    def post_from(self, account_id: UUID, url: str, **changes: Any) -> PostDue:
        """Return a post whose video is at an address."""
        return self.post(account_id, None, source_url=url, **changes)

    def settings(self, **changes: Any) -> Settings:
        fields: dict[str, Any] = {
            "amqp_url": self.amqp_url, "database_url": self.database_url, "accounts_url": self.accounts_url,
            "scheduler_url": self.accounts_url, "source_url_allowed_hosts": ["127.0.0.1"],
            "tiktok_api_url": self.driver.base_url, "storage_url": f"file://{self.folder}", "service_instance": "publisher-1",
            "service_private_key": self.keys.private_text("publisher"), "service_public_keys": self.keys.public_texts(),
            "lease_seconds": LEASE_SECONDS, "upload_settle_seconds": 0.2, "drain_seconds": 1.0, "http_port": 0,
        }  # fmt: skip
        return Settings(**(fields | changes))

    def environment(self, **changes: Any) -> dict[str, str]:
        settings = self.settings(**changes).model_dump()
        plain = {
            name.upper(): json.dumps(value) if isinstance(value, dict | list) else _plain(value)
            for name, value in settings.items()
        }
        return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"} | plain

    async def accept(self, *posts: PostDue) -> int:
        async with self.database.transaction() as tx:
            contexts = [Context(user_id=post.user_id, correlation_id="corr") for post in posts]
            orders = [Order(post, context, post.to_data()) for post, context in zip(posts, contexts, strict=True)]
            return await accept_due(tx, orders, outbox=self.outbox, replica="test", wake=lambda: None)

    @asynccontextmanager
    async def replica(self, **changes: Any) -> AsyncIterator[Replica]:
        settings = self.settings(**changes)
        clients = HttpClients(internal=httpx.AsyncClient(), tiktok=tiktok_http_client(), tiktok_once=tiktok_once_client())
        tools = tools_of(settings, self.database, self.outbox, clients)
        heartbeat = Heartbeat(self.database, lease=timedelta(seconds=settings.lease_seconds), every=BEAT)
        lanes = lanes_of(settings, tools, self.database, heartbeat)
        for part in (heartbeat, *lanes):
            await part.start()
        try:
            yield Replica(tools, heartbeat, lanes)
        finally:
            for lane in lanes:
                await lane.stop()
            await heartbeat.stop()
            await tools.sources.stop()
            await clients.stop()

    @asynccontextmanager
    async def process(
        self, *, crash_point: str = "", crash_points_folder: Path | None = None, **changes: Any
    ) -> AsyncIterator[ForkedProgram]:
        """Run `python -m publisher`, or with a crash point the program that dies there; killed when the block ends."""
        module, environment = "publisher", self.environment(**{"lease_seconds": PROCESS_LEASE_SECONDS} | changes)
        if crash_point or crash_points_folder is not None:
            module = "crashing_publisher"
            environment |= {"PYTHONPATH": str(DEPLOY), "CRASH_POINT": crash_point}
        if crash_points_folder is not None:
            environment["CRASH_POINTS_FOLDER"] = str(crash_points_folder)
        process = await self.forked_programs.start(module, environment, self.program_log("publisher"))
        try:
            yield process
        finally:
            process.kill()
            await process.wait()

    async def job(self, post: PostDue) -> Job:
        async with self.database.read() as connection:
            job = await jobs.latest_of_post(connection, post.post_id)
        assert job is not None
        return job

    async def state(self, post: PostDue, *wanted: State, timeout: float = 60.0) -> Job:
        async def reached() -> Job | None:
            job = await self.job(post)
            return job if job.checkpoint.state in wanted else None

        job = await eventually(reached, timeout)
        assert job is not None
        return job

    async def events(self, post: PostDue) -> list[Envelope]:
        """Return what was told of the post, in order, whether a relay has sent it already or not."""
        return [envelope for envelope in await kept_messages(self.database) if envelope.subject == str(post.post_id)]

    async def told(self, post: PostDue) -> list[str]:
        return [envelope.key.removeprefix("publisher.publish.").removesuffix(".v1") for envelope in await self.events(post)]

    async def told_of(self, post: PostDue, name: str, timeout: float = 60.0) -> dict[str, Any]:
        async def heard() -> bool:
            return name in await self.told(post)

        await eventually(heard, timeout)
        return await self.event(post, name)

    async def waits(self, post: PostDue, code: str) -> bool:
        job = await self.job(post)
        return job.reason is not None and job.reason["code"] == code

    async def due_now(self, post: PostDue, /, **values: Any) -> None:
        async with self.database.transaction() as tx:
            await tx.connection.execute(
                update(publish_jobs)
                .where(publish_jobs.c.post_id == post.post_id)
                .values(run_at=func.clock_timestamp(), **values)
            )

    async def end_leases(self, instance: str) -> None:
        """Let the leases of a replica that is no more end now; those of a living one would be renewed."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(
                update(publish_jobs).where(publish_jobs.c.lease_owner == instance).values(run_at=func.clock_timestamp())
            )

    async def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass at once, for TikTok and for what the database counts and lets wait; leases go on."""
        await self.driver.advance(seconds)
        async with self.database.transaction() as tx:
            await tx.connection.execute(text(_OLDER_CALLS), {"s": seconds})
            await tx.connection.execute(
                update(publish_jobs)
                .where(publish_jobs.c.lease_owner.is_(None), publish_jobs.c.run_at.is_not(None))
                .values(run_at=publish_jobs.c.run_at - timedelta(seconds=seconds))
            )

    async def spend(self, account_id: UUID, limit: Limit) -> None:
        """Use up one of TikTok's limits for an account."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(text(_SPENT), {"owner": str(account_id), "name": limit.name, "n": limit.allowed})

    async def webhook(self, post: PostDue, name: str, *, replica: Replica | None = None, **content: Any) -> int:
        """Let TikTok's webhook `post.publish.<name>` about the post's publication be heard; returns how many jobs it woke."""
        about = {"publish_id": (await self.job(post)).publish_id, "publish_type": "DIRECT_PUBLISH"} | content
        open_id = about.pop("open_id", self.accounts.tokens[post.account_id]["open_id"])
        claim = publish_claim(f"post.publish.{name}", about)
        assert claim is not None
        wakes = [] if replica is None else [lane.wake for lane in replica.lanes]
        async with self.database.transaction() as tx:
            return await hear_claim(tx, claim, open_id, about.get("at", datetime.now(UTC)), wakes=wakes)

    async def event(self, post: PostDue, name: str) -> dict[str, Any]:
        (found,) = [event for event in await self.events(post) if event.key == f"publisher.publish.{name}.v1"]
        return found.data

    async def database_now(self) -> datetime:
        async with self.database.read() as connection:
            return await connection.scalar(select(func.clock_timestamp()))

    async def publications(self, post: PostDue) -> list[dict[str, Any]]:
        items = await self.driver.ledger(title=post.content.title)
        return [item for item in items if item["sha256"] is not None]

    async def inits(self, post: PostDue) -> list[dict[str, Any]]:
        return await self.driver.ledger(title=post.content.title)


def _bare(url: str) -> str:
    """Return an address as events tell it."""
    return url.partition("?")[0]


def _plain(value: Any) -> str:
    return str(value.get_secret_value()) if hasattr(value, "get_secret_value") else str(value)


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    """Return settings of the simulator; `@pytest.mark.parametrize("simulator_changes", [{...}])` gives others."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def world(
    clean_database: Callable[[str], Awaitable[str]],
    tmp_path: Path,
    service_keys: ServiceKeys,
    simulator_changes: dict[str, Any],
) -> AsyncIterator[World]:
    """Give a world."""
    url = await clean_database("publisher")
    accounts, scheduler = FakeAccounts(), FakeScheduler()
    database = Database(url, application_name="publisher-test", pool_size=10)
    await keep_outbox(database)
    settings = SimulatorSettings(**({"port": 0, "processing_seconds": 0.1, "check_media": False} | simulator_changes))
    app = scheduler.add_to(accounts.app())
    async with running_simulator(settings) as simulator, httpx.AsyncClient() as http, serving(app) as accounts_url:
        driver = Driver(http, simulator.base_url)
        yield World(
            driver, simulator, accounts, accounts_url, database, url, tmp_path, service_keys, "amqp://unused", scheduler
        )
    await database.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def processes(
    world: World, rabbitmq_url: str, secret_scan: SecretScan, forked_programs: ForkedPrograms
) -> AsyncIterator[World]:
    """Give a world whose processes have a broker, and hear what they tell; their queues are deleted after the test."""
    world.amqp_url, world.program_log, world.forked_programs = rabbitmq_url, secret_scan.log_file, forked_programs
    connection = await aio_pika.connect(rabbitmq_url, timeout=5)
    async with connection:
        channel = await connection.channel(publisher_confirms=False)
        exchange = await channel.declare_exchange(EVENTS.name, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "publisher.#")

        async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            secret_scan.message(message.body, dict(message.headers))
            world.heard.append(Envelope.model_validate_json(message.body))

        await queue.consume(hear, no_ack=True)
        yield world
        for spec in (QUEUE, account_news.QUEUE, webhooks.QUEUE):
            for name in (spec.name, dead_letter_name(spec.name)):
                await channel.queue_delete(name)
