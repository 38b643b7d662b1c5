"""Single posts beside 10,000 due posts of another user: how late each is handed over, begun, and on its way to TikTok.

Scheduler and publisher are the real programs and really publish, to the simulator, which runs in this process together with a
stand-in for accounts. The moments are those that the publisher stored.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from fastapi import FastAPI

from bench.creators import connected
from bench.due_posts import accounts_stand_in, forget_queues
from bench.programs import Pipeline
from common.clock import rfc3339, utc_now
from common.ids import uuid7
from common.testing.databases import TestDatabases
from common.testing.eventually import eventually
from common.testing.http_server import serving
from common.testing.servers import TestServers
from tiktok_simulator.driver import Driver
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator

IS_TRIAL = bool(os.environ.get("BENCH_TRIAL"))
CROWD, CROWD_ACCOUNTS = (500, 5) if IS_TRIAL else (10_000, 100)
SINGLES, APART_S = (4, 0.5) if IS_TRIAL else (20, 0.5)
"""Posts of as many users, due from the same moment as the crowd on."""
FILE_BYTES = 100_000
PATIENCE_S = 300.0

MEDIA = """
INSERT INTO media (id, user_id, status, filename, content_type, size_bytes, sha256, storage_key, duration_ms)
VALUES ($1, $1, 'ready', 'a.mp4', 'video/mp4', $2, $3, 'a.mp4', 15000)
"""
POSTS = """
INSERT INTO posts (id, user_id, account_id, status, caption, title, privacy_level, media_id, mode, transfer, scheduled_time,
                   next_attempt_at, publish_before, checked_version, correlation_id)
SELECT gen_random_uuid(), user_id, account_id, 'scheduled', 'Hello', 'Hello ' || gen_random_uuid(), 'PUBLIC_TO_EVERYONE', $1,
       'direct', 'upload', at, at, at + interval '1 day', 1, $2
FROM unnest($3::uuid[], $4::uuid[], $5::timestamptz[]) AS made(user_id, account_id, at)
"""
ON_THEIR_WAY = "SELECT count(*) FROM publish_jobs WHERE correlation_id = $1 AND irrevocable_since IS NOT NULL"
LATENESS = """
SELECT extract(epoch FROM created_at - due_at)::float8 * 1000, extract(epoch FROM started_at - due_at)::float8 * 1000,
       extract(epoch FROM irrevocable_since - due_at)::float8 * 1000
FROM publish_jobs WHERE correlation_id = $1
"""
LEFT = "SELECT count(*) FROM posts WHERE correlation_id = $1 AND status = 'scheduled'"


class Bench:
    """The databases of scheduler and publisher, and the accounts that posts are for."""

    def __init__(
        self, posts: asyncpg.Connection, jobs: asyncpg.Connection, crowd: Sequence[UUID], others: Sequence[UUID]
    ) -> None:
        self._posts = posts
        self._jobs = jobs
        self._crowd = crowd
        self._others = others
        self._media_id = uuid7()

    async def prepare(self, folder: Path) -> None:
        """Make the file of all posts."""
        data = os.urandom(FILE_BYTES)
        await asyncio.to_thread((folder / "a.mp4").write_bytes, data)
        await self._posts.execute(MEDIA, self._media_id, FILE_BYTES, hashlib.sha256(data).hexdigest())

    async def run(self, crowd: int) -> tuple[list[tuple[float, ...]], int, int]:
        """Let single posts fall due beside so many of one user.

        Returns how late each was handed over, begun and on its way (ms); and of the crowd, how many were on their way by then, and
        how many had not left the scheduler yet.
        """
        first = await self._posts.fetchval("SELECT clock_timestamp() + interval '3 seconds'")
        user = uuid7()
        rows = [(user, self._crowd[number % len(self._crowd)], first) for number in range(crowd)]
        await self._insert(f"crowd {crowd}", rows)
        singles = f"single {crowd}"
        late = [first + timedelta(seconds=number * APART_S) for number in range(SINGLES)]
        await self._insert(singles, [(uuid7(), account, at) for account, at in zip(self._others, late, strict=True)])

        async def all_are() -> bool:
            return bool(await self._jobs.fetchval(ON_THEIR_WAY, singles) == SINGLES)

        await eventually(all_are, PATIENCE_S, 0.2)
        found = [tuple(row) for row in await self._jobs.fetch(LATENESS, singles)]
        sent = await self._jobs.fetchval(ON_THEIR_WAY, f"crowd {crowd}")
        return found, sent, await self._posts.fetchval(LEFT, f"crowd {crowd}")

    async def _insert(self, label: str, rows: Sequence[tuple[UUID, UUID, datetime]]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
        await self._posts.execute(POSTS, self._media_id, label, *columns, timeout=120)


async def run(servers: TestServers) -> None:
    """Measure single posts alone, then beside the crowd, and print the table."""
    databases = TestDatabases(servers.postgres_url)
    settings = Settings(port=0, check_media=False, daily_posts=0, processing_seconds=86_400)
    try:
        urls = {name: await databases.migrated(name) for name in ("scheduler", "publisher")}
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            async with running_simulator(settings) as simulator, httpx.AsyncClient() as http:
                tokens = await connected(Driver(http, simulator.base_url), CROWD_ACCOUNTS + 2 * SINGLES)
                async with serving(_accounts(tokens)) as accounts_url:
                    pipeline = Pipeline(urls, servers.rabbitmq_url, accounts_url, Path(folder))
                    await _measure(pipeline, simulator.base_url, list(tokens))
    finally:
        await databases.drop_all()


async def _measure(pipeline: Pipeline, tiktok_url: str, accounts: Sequence[UUID]) -> None:
    crowd, others = accounts[:CROWD_ACCOUNTS], accounts[CROWD_ACCOUNTS:]
    await forget_queues(pipeline.amqp_url)
    print(f"\n| {SINGLES} single posts, ms late: p50, worst | handed over | begun | first byte on its way |")
    print("|---|---|---|---|")
    try:
        async with (
            pipeline.run("publisher", TIKTOK_API_URL=tiktok_url, DAILY_POSTS_PER_CREATOR="0"),
            pipeline.run("scheduler", SWEEP_DUE_SECONDS="86400"),
            _connections(pipeline) as (posts, jobs),
        ):
            for number, ours in ((0, others[:SINGLES]), (CROWD, others[SINGLES:])):
                bench = Bench(posts, jobs, crowd, ours)
                await bench.prepare(pipeline.folder)
                late, sent, left = await bench.run(number)
                _show(f"beside {number:,} of one user" if number else "alone", late)
        print(
            f"\nOf the crowd, {sent:,} were on their way when the last single post was, {left:,} had not left the scheduler;",
            end=" ",
        )
        print(f"load {os.getloadavg()[0]:.1f} at the end")
    finally:
        await forget_queues(pipeline.amqp_url)


def _show(label: str, late: Sequence[tuple[float, ...]]) -> None:
    columns = [sorted(column) for column in zip(*late, strict=True)]
    shown = " | ".join(f"{column[len(column) // 2]:,.0f}, {column[-1]:,.0f}" for column in columns)
    print(f"| {label} | {shown} |")


def _accounts(tokens: dict[UUID, dict[str, Any]]) -> FastAPI:
    """Return a stand-in for accounts: the keys of users' tokens, and TikTok's tokens."""
    app = accounts_stand_in()

    @app.post("/internal/accounts/{account_id}/access-token")
    async def access_token(account_id: UUID) -> dict[str, Any]:
        return {**tokens[account_id], "expires_at": rfc3339(utc_now() + timedelta(hours=1)), "scopes": [], "status": "active"}

    return app


@asynccontextmanager
async def _connections(pipeline: Pipeline) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    posts = await asyncpg.connect(pipeline.databases["scheduler"])
    try:
        jobs = await asyncpg.connect(pipeline.databases["publisher"])
        try:
            yield posts, jobs
        finally:
            await jobs.close()
    finally:
        await posts.close()
