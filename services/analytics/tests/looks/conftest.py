"""A world to look at: the simulator, a small accounts service, a database of its own, and loops at will."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import text

from analytics.clients.http import HttpClients, tiktok_http_client
from analytics.domain.look_times import VideoLooks
from analytics.handlers.all_events import decode
from analytics.loops.look_loop import LookLoop
from analytics.loops.snapshots import Snapshots
from analytics.loops.video_looks import VideoLooksLoop
from analytics.settings import Settings
from analytics.statistics_side import tiktok_numbers
from analytics.storage.statistics_tables import outbox as outbox_rows
from analytics.tiktok_numbers import TikTokNumbers
from analytics.usecases.project_events import ProjectionRules, project_events
from analytics.usecases.record_events import record_events
from common.auth.keys import private_key_text
from common.clock import utc_now
from common.contracts import accounts as contract
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.message import Event
from common.contracts.scheduler import PostPublished
from common.database import Database
from common.due_loop import DueLoop, StepResult
from common.errors import Problem
from common.http.client import internal_client
from common.http.problems import install_problem_handlers
from common.ids import uuid7
from common.messaging.outbox import Outbox
from common.testing.eventually import eventually
from common.testing.http_server import serving
from common.testing.keys import ServiceKeys
from tiktok_simulator.driver import ALL_SCOPES, Driver
from tiktok_simulator.settings import Settings as SimulatorSettings
from tiktok_simulator.testing import RunningSimulator, running_simulator

SCOPES = tuple(ALL_SCOPES.split(","))
LOOKS = VideoLooks((timedelta(hours=1), timedelta(hours=6), timedelta(days=1)), timedelta(days=180))


@dataclass
class FakeAccounts:
    """Hands out the tokens the simulator gave; can be told to refuse."""

    tokens: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    renewed: dict[UUID, str] = field(default_factory=dict)
    problem: Problem | None = None
    status: str = "active"
    scopes: tuple[str, ...] = SCOPES
    asked: int = 0

    def updated(self, account_id: UUID, user_id: UUID, **changes: Any) -> contract.AccountUpdated:
        """Return the event by which accounts tells of an account."""
        usual = {"tiktok_user_id": "o", "username": "u", "display_name": "U", "status": "active", "scopes": list(self.scopes)}
        return contract.AccountUpdated(account_id=account_id, user_id=user_id, **(usual | changes))

    async def tell_of(self, account_id: UUID, user_id: UUID, channel: AbstractChannel) -> None:
        """Tell everybody of an account, over the broker."""
        event = self.updated(account_id, user_id)
        envelope = wrap(event, service="accounts", subject=str(account_id), context=Context(user_id=user_id), sequence=1)
        exchange = await channel.declare_exchange("cuepost.events", ExchangeType.TOPIC, durable=True)
        await exchange.publish(Message(envelope.to_bytes()), envelope.key)

    def app(self, app: FastAPI | None = None) -> FastAPI:
        app = app or FastAPI()
        install_problem_handlers(app)

        @app.post("/internal/accounts/{account_id}/access-token")
        async def access_token(account_id: UUID, body: dict[str, Any]) -> JSONResponse:
            self.asked += 1
            if self.problem is not None:
                raise self.problem
            if body.get("rejected_token_sha256"):
                self.tokens[account_id]["access_token"] = self.renewed[account_id]
            expires_at = (utc_now() + timedelta(hours=1)).isoformat()
            token = {name: self.tokens[account_id][name] for name in ("access_token", "open_id")}
            more = {"expires_at": expires_at, "scopes": self.scopes, "status": self.status, "username": "u"}
            return JSONResponse(token | more)

        return app


@dataclass
class World:
    """What analytics meets; `numbers` ask as one replica of it would."""

    database: Database
    accounts: FakeAccounts
    simulator: RunningSimulator
    tiktok: Driver
    numbers: TikTokNumbers
    settings: Settings
    sequence: int = 0

    def snapshots(self, **changes: Any) -> Snapshots:
        """Return another replica's loop."""
        outbox = Outbox(outbox_rows, service="analytics", wake=lambda: None)
        numbers = changes.pop("numbers", self.numbers)
        return Snapshots(self.database, numbers, outbox, **({"concurrency": 16} | changes))

    def video_looks(self, **changes: Any) -> VideoLooksLoop:
        """Return another replica's loop."""
        numbers, looks = changes.pop("numbers", self.numbers), changes.pop("looks", LOOKS)
        return VideoLooksLoop(self.database, numbers, looks, **({"concurrency": 8} | changes))

    async def account(self, username: str = "demo_public", **changes: Any) -> UUID:
        """Connect a creator whom analytics has heard of but not looked at."""
        account_id = uuid7()
        self.accounts.tokens[account_id] = await self.tiktok.connect(username)
        await self.hear(account_id, **changes)
        return account_id

    async def hear(self, account_id: UUID, *, status: str = "active", scopes: tuple[str, ...] = SCOPES) -> None:
        """Let analytics hear of an account."""
        event = self.accounts.updated(account_id, uuid4(), status=status, scopes=list(scopes))
        await self.tell(event, account_id)

    async def tell(self, *events: Event | UUID) -> None:
        """Record events (each followed by its subject) and bring the copies forward."""
        self.sequence += 1
        envelopes = [
            wrap(
                event,
                service=event.KEY.partition(".")[0],
                subject=str(subject),
                context=Context(user_id=uuid4()),
                sequence=self.sequence,
            )
            for event, subject in zip(events[::2], events[1::2], strict=True)
            if isinstance(event, Event)
        ]
        async with self.database.transaction() as tx:
            await record_events(tx, [decode(envelope) for envelope in envelopes])
        async with self.database.transaction() as tx:
            await project_events(tx, ProjectionRules(LOOKS, timedelta(days=800)), now=utc_now())

    async def published(self, account_id: UUID, *, at: datetime, number: int = 1, **changes: Any) -> list[UUID]:
        """Publish videos at TikTok, and let analytics hear of posts that were published at this time."""
        posts: list[UUID] = []
        token = self.accounts.tokens[account_id]["access_token"]
        for _ in range(number):
            options = {"privacy_level": "PUBLIC_TO_EVERYONE"} | changes
            item = await self.tiktok.finished(await self.tiktok.upload(token, b"a video", **options))
            posts.append(await self.heard_published(account_id, item["post_id"], at=at))
        return posts

    async def heard_published(self, account_id: UUID, video_id: str, *, at: datetime, by_owner: bool = False) -> UUID:
        """Let analytics hear of a post that was published at this time, as TikTok or its owner told."""
        post_id = uuid7()
        event = PostPublished(
            post_id=post_id,
            account_id=account_id,
            status="published",
            attempt=1,
            tiktok_video_id=video_id,
            published_at=at,
            by_owner=by_owner,
        )
        await self.tell(event, post_id)
        return post_id

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table."""
        async with self.database.read() as connection:
            return [dict(row) for row in (await connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2"))).mappings()]

    async def change(self, statement: str) -> None:
        """Change the database by hand."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(text(statement))

    async def make_due(self, table: str) -> None:
        """Let the time come for everything that is planned."""
        column = "snapshot_due_at" if table == "stats_accounts" else "metrics_due_at"
        await self.change(f"UPDATE {table} SET {column} = now() - interval '1 second' WHERE {column} IS NOT NULL")

    async def until(self, condition: Callable[[], Awaitable[bool]], *loops: DueLoop) -> None:
        """Run loops until something holds; none of their steps may fail."""
        for loop in loops:
            await loop.start()
        try:
            await eventually(condition)
        finally:
            for loop in loops:
                await loop.stop()
        assert [loop._failures for loop in loops] == [0] * len(loops)

    async def once(self, loop: LookLoop) -> StepResult:
        """Let a loop take once, and wait until all that it took has ended."""
        result = await loop._step_of_looks()
        await asyncio.gather(*loop._running)
        return result

    async def calls(self, path: str) -> dict[str, int]:
        """How often TikTok was asked there, by status."""
        found: dict[str, int] = (await self.tiktok.stats())["requests"].get(path, {})
        return found


@pytest.fixture
def fake_accounts() -> FakeAccounts:
    return FakeAccounts()


@pytest.fixture
def world_with(
    migrated_database: Callable[[str], Awaitable[str]], service_keys: ServiceKeys, audit_key: Any
) -> Callable[..., Any]:
    @asynccontextmanager
    async def make(**changes: Any) -> AsyncIterator[World]:
        accounts = FakeAccounts()
        simulated = SimulatorSettings(
            port=0,
            processing_seconds=0,
            check_media=False,
            retry_after=True,
            daily_posts=0,
            init_per_minute=600,
            access_token_seconds=10_000_000,
        )
        async with (
            running_simulator(simulated) as simulator,
            serving(accounts.app()) as accounts_url,
            httpx.AsyncClient() as http,
        ):
            settings = Settings(
                database_url=await migrated_database("analytics"),
                amqp_url="amqp://127.0.0.1",
                accounts_url=accounts_url,
                tiktok_api_url=simulator.base_url,
                service_private_key=service_keys.private_text("analytics"),
                service_public_keys=service_keys.public_texts(),
                audit_signing_key=private_key_text(audit_key),
                **({"user_info_calls_per_minute": 600, "video_query_calls_per_minute": 600} | changes),
            )
            database = Database(settings.database_url, application_name="test")
            clients = HttpClients(internal_client(), tiktok_http_client())
            tiktok = Driver(http, simulator.base_url)
            yield World(database, accounts, simulator, tiktok, tiktok_numbers(settings, database, clients), settings)
            await clients.stop()
            await database.stop()

    return make


@pytest.fixture
async def world(world_with: Callable[..., Any]) -> AsyncIterator[World]:
    async with world_with() as made:
        yield made
