"""500 posts that TikTok processes, sent and followed by one publisher: what they cost in memory."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg
import httpx
import psutil
from fastapi import FastAPI

from bench.creators import connected
from bench.figures import verdict
from bench.programs import Pipeline
from common.clock import rfc3339, utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.scheduler import MediaFile, PostContent, PostDue
from common.ids import uuid7
from common.messaging.topology import EVENTS
from common.testing.databases import TestDatabases
from common.testing.eventually import eventually
from common.testing.http_server import serving
from common.testing.servers import TestServers
from tiktok_simulator.driver import Driver
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator

CREATORS, POSTS_EACH = 100, 5
POSTS = CREATORS * POSTS_EACH
FILE_BYTES = 5_000_000
PATIENCE_S, FOLLOWED_S = 480, 60
GOAL_MB = 150.0
AS_DEPLOYED = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "4194304"}
"""The local stack and the images run the services so."""
_POLLS = "SELECT sum(polls) FROM publish_jobs"
_IN_PROCESSING = "SELECT count(*) FROM publish_jobs WHERE state = 'running' AND step IN ('uploaded', 'polling')"


@dataclass
class Memory:
    """PSS of a process in MB, looked at from time to time."""

    process: int
    seen: list[float] = field(default_factory=list)

    @asynccontextmanager
    async def watched(self, *, every: float = 0.5) -> AsyncIterator[None]:
        """Look as long as the block runs; what was seen before is forgotten."""
        self.seen.clear()
        looking = asyncio.create_task(self._look(every))
        try:
            yield
        finally:
            looking.cancel()

    async def _look(self, every: float) -> None:
        while True:
            self.seen.append(self.now())
            await asyncio.sleep(every)

    def processor_seconds(self) -> float:
        """Return how long it has run on a processor."""
        times = psutil.Process(self.process).cpu_times()
        return float(times.user + times.system)

    def now(self) -> float:
        """Return it as it is now."""
        full = psutil.Process(self.process).memory_full_info()
        return (getattr(full, "pss", 0) or full.uss) / 1e6


async def run(servers: TestServers) -> None:
    """Send the posts, follow them for a minute, print the table."""
    databases = TestDatabases(servers.postgres_url)
    settings = Settings(port=0, processing_seconds=86_400, check_media=False)
    try:
        url = await databases.migrated("publisher")
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            async with running_simulator(settings) as simulator, httpx.AsyncClient() as http:
                tokens = await connected(Driver(http, simulator.base_url), CREATORS)
                async with serving(_accounts(tokens)) as accounts_url:
                    pipeline = Pipeline({"publisher": url}, servers.rabbitmq_url, accounts_url, Path(folder))
                    await _measure(pipeline, simulator.base_url, list(tokens))
    finally:
        await databases.drop_all()


async def _measure(pipeline: Pipeline, tiktok_url: str, accounts: Sequence[UUID]) -> None:
    async with _jobs(pipeline) as jobs:
        async with pipeline.run("publisher", TIKTOK_API_URL=tiktok_url, **AS_DEPLOYED) as process:
            sender = Memory(process)
            before, began = sender.now(), asyncio.get_running_loop().time()
            async with sender.watched():
                await _publish(pipeline, accounts)
                await _until_all_are_in_processing(jobs)
            took = asyncio.get_running_loop().time() - began
            async with sender.watched():
                await asyncio.sleep(FOLLOWED_S)
            sender_follows = max(sender.seen)
        # Another replica takes all of them over, as after an upgrade.
        async with pipeline.run("publisher", TIKTOK_API_URL=tiktok_url, **AS_DEPLOYED) as process:
            follower = Memory(process)
            polled = await jobs.fetchval(_POLLS)
            async with follower.watched():
                await asyncio.sleep(FOLLOWED_S)
            polls = await jobs.fetchval(_POLLS) - polled
            still = await jobs.fetchval(_IN_PROCESSING)
    print(f"\n{still} posts of {CREATORS} creators in processing; load {os.getloadavg()[0]:.0f} at the end\n")
    print("| | measured | goal | |\n|---|---|---|---|")
    print(f"| a publisher that has nothing to do, PSS | {before:.0f} MB | | |")
    for what, megabytes in (
        (f"one that follows all of them, at most in {FOLLOWED_S} s", max(follower.seen)),
        (f"one that has sent them just before ({took:.0f} s), too", sender_follows),
    ):
        print(f"| {what} | {megabytes:.0f} MB | < {GOAL_MB:.0f} MB | {verdict(what, megabytes < GOAL_MB)} |")
    print(f"| status polls of the first meanwhile | {polls} | | |")


def _accounts(tokens: dict[UUID, dict[str, Any]]) -> FastAPI:
    """Return a stand-in for accounts that gives out the tokens."""
    app = FastAPI(openapi_url=None)

    @app.post("/internal/accounts/{account_id}/access-token")
    async def access_token(account_id: UUID) -> dict[str, Any]:
        expires_at = rfc3339(utc_now() + timedelta(hours=1))
        return {**tokens[account_id], "expires_at": expires_at, "scopes": [], "status": "active"}

    return app


async def _publish(pipeline: Pipeline, accounts: Sequence[UUID]) -> None:
    data = os.urandom(FILE_BYTES)
    (pipeline.folder / "video.mp4").write_bytes(data)
    media = MediaFile(
        media_id=uuid7(),
        storage_key="video.mp4",
        content_type="video/mp4",
        size_bytes=FILE_BYTES,
        sha256=hashlib.sha256(data).hexdigest(),
        duration_ms=10_000,
    )
    async with await aio_pika.connect(pipeline.amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EVENTS.name)
        for number in range(POSTS):
            post = _post(accounts[number % CREATORS], number, media)
            envelope = wrap(post, service="scheduler", subject=str(post.post_id), context=Context(user_id=post.user_id))
            await exchange.publish(aio_pika.Message(envelope.to_bytes()), routing_key=envelope.key)


def _post(account_id: UUID, number: int, media: MediaFile) -> PostDue:
    now = utc_now()
    return PostDue(
        post_id=uuid7(),
        account_id=account_id,
        status="due",
        attempt=1,
        user_id=uuid7(),
        due_at=now,
        publish_before=now + timedelta(hours=24),
        mode="direct",
        transfer="upload",
        content=PostContent(title=f"post {number}", privacy_level="PUBLIC_TO_EVERYONE"),
        media=media,
    )


@asynccontextmanager
async def _jobs(pipeline: Pipeline) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(pipeline.databases["publisher"])
    try:
        yield connection
    finally:
        await connection.close()


async def _until_all_are_in_processing(jobs: asyncpg.Connection) -> None:
    async def all_are() -> bool:
        return bool(await jobs.fetchval(_IN_PROCESSING) == POSTS)

    await eventually(all_are, PATIENCE_S, 0.5)
