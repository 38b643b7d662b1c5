"""Posts through the gateway over 8 connections: read one, read a page, create; requests a second, their times, processor time.

Gateway, scheduler and (for creating) analytics are the real programs; accounts is a stand-in, asked once a minute and account. The
client is a bare socket per connection, which sends its next request when the answer is there.
"""

import asyncio
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI

from bench.due_posts import forget_queues
from bench.figures import verdict
from bench.processor_time import ProcessorClock, table
from bench.programs import Pipeline, gateway_before
from common.testing.databases import TestDatabases
from common.testing.http_server import serving
from common.testing.keys import UserKeys
from common.testing.servers import TestServers

IS_TRIAL = bool(os.environ.get("BENCH_TRIAL"))
SECONDS, ROUNDS = (2, 1) if IS_TRIAL else (10, 3)
CONNECTIONS = 8
POSTS, OTHERS, ACCOUNTS = 1_000, 100_000, 200
CREATE_GOAL_MS = 50.0

SEED = """
INSERT INTO posts (id, user_id, account_id, status, caption, title, privacy_level, media_id, mode, transfer, scheduled_time,
                   next_attempt_at, publish_before, hashtags)
SELECT uuidv7(), u, ($3::uuid[])[1 + n % cardinality($3::uuid[])], 'scheduled', 'Morning', 'Morning #coffee', 'SELF_ONLY', $4,
       'direct', 'upload', at, at, at + interval '1 day', '["coffee"]'
FROM generate_series(1, $2) AS n,
     LATERAL (SELECT coalesce($1, md5('u' || n % 1000)::uuid) AS u, now() + interval '30 days' AS base) AS made,
     LATERAL (SELECT base + n * interval '1 minute' AS at) AS scheduled
RETURNING id
"""
MEDIA = """
INSERT INTO media (id, user_id, status, filename, content_type, size_bytes, sha256, storage_key, duration_ms)
SELECT id, $2, 'ready', 'a.mp4', 'video/mp4', 1000000, md5(id::text) || md5(id::text), 'media/' || id, 15000
FROM unnest($1::uuid[]) AS given (id)
"""
ACCOUNT = """
INSERT INTO accounts (id, user_id, username, status, version)
SELECT id, $2, 'creator', 'active', 1 FROM unnest($1::uuid[]) AS given (id)
"""
Request = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request: requests a second (median of the rounds), milliseconds, processor milliseconds per thousand."""

    label: str
    goal: int
    rate: float
    p50: float
    p99: float
    processor: Mapping[str, float]


class World:
    """One user with accounts, files and posts, among the posts of others."""

    def __init__(self, keys: UserKeys) -> None:
        self.user_id = uuid4()
        self.accounts = [uuid4() for _ in range(ACCOUNTS)]
        self.media = [uuid4() for _ in range(ACCOUNTS)]
        self.posts: list[UUID] = []
        self.authorization = keys.authorization(self.user_id)["Authorization"]

    async def fill(self, url: str) -> None:
        """Write it into the scheduler's database."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(ACCOUNT, self.accounts, self.user_id)
            await connection.execute(MEDIA, self.media, self.user_id)
            mine = await connection.fetch(SEED, self.user_id, POSTS, self.accounts, self.media[0])
            self.posts = [record["id"] for record in mine]
            await connection.fetch(SEED, None, OTHERS, self.accounts, self.media[0], timeout=300)
            await connection.execute("VACUUM ANALYZE", timeout=300)
        finally:
            await connection.close()

    def store(self, folder: Path) -> None:
        """Put the files into the storage; nobody reads them."""
        (folder / "media").mkdir()
        for media_id in self.media:
            (folder / "media" / str(media_id)).touch()

    def read_one(self) -> Request:
        """Return what makes GET `/posts/{id}`, of one post after the other."""
        paths = itertools.cycle(f"/api/v1/posts/{post}" for post in self.posts)
        return lambda: self._head("GET", next(paths))

    def read_page(self) -> Request:
        """Return what makes GET `/posts?limit=20`."""
        head = self._head("GET", "/api/v1/posts?limit=20")
        return lambda: head

    def create(self) -> Request:
        """Return what makes POST `/posts`, for one account and file after the other."""
        numbers = itertools.count()
        at = (datetime.now(UTC) + timedelta(days=20)).isoformat()

        def request() -> bytes:
            number = next(numbers)
            body = {
                "tiktok_account_id": str(self.accounts[number % ACCOUNTS]),
                "media_id": str(self.media[number // ACCOUNTS % ACCOUNTS]),
                "caption": f"Morning {number}",
                "hashtags": ["coffee"],
                "privacy_level": "SELF_ONLY",
                "scheduled_time": at,
                "allow_duplicate": True,
            }
            return self._head("POST", "/api/v1/posts", json.dumps(body).encode())

        return request

    def _head(self, method: str, path: str, body: bytes = b"") -> bytes:
        content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {self.authorization}\r\n{content}\r\n".encode() + body


async def run(servers: TestServers) -> None:
    """Measure and print the tables."""
    databases = TestDatabases(servers.postgres_url)
    keys = UserKeys()
    world = World(keys)
    try:
        urls = {name: await databases.migrated(name) for name in ("scheduler", "analytics")}
        await world.fill(urls["scheduler"])
        clock = await ProcessorClock.of_servers(servers.postgres_url, servers.rabbitmq_url)
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            world.store(Path(folder))
            async with serving(accounts_of(keys)) as accounts_url, AsyncExitStack() as stack:
                pipeline = Pipeline(urls, servers.rabbitmq_url, accounts_url, Path(folder))
                await forget_queues(pipeline.amqp_url)
                stack.push_async_callback(forget_queues, pipeline.amqp_url)
                analytics = await stack.enter_async_context(pipeline.run("analytics"))
                address, services = await stack.enter_async_context(gateway_before(pipeline))
                everything = {**services, "analytics": analytics}
                port = int(address.rpartition(":")[2])
                kinds = (
                    ("GET /posts/{id}", 1_500, world.read_one(), b"200"),
                    ("GET /posts?limit=20", 1_000, world.read_page(), b"200"),
                    ("POST /posts", 500, world.create(), b"201"),
                )
                _show([await _row(label, goal, port, make, status, clock, everything) for label, goal, make, status in kinds])
    finally:
        await databases.drop_all()


def accounts_of(keys: UserKeys) -> FastAPI:
    """Return a stand-in for accounts: its keys, and the same word about every account."""
    app = FastAPI(openapi_url=None)
    creator = {"privacy_level_options": ["SELF_ONLY"], "max_video_post_duration_sec": 600}

    @app.get("/.well-known/jwks.json")
    async def jwks() -> dict[str, Any]:
        return keys.jwks()

    @app.get("/internal/revocations")
    async def revocations() -> dict[str, Any]:
        return {"items": [], "next_since": "2026-01-01T00:00:00Z", "has_more": False}

    @app.get("/internal/users/{user_id}/accounts/{account_id}/creator-info")
    async def creator_info(account_id: UUID) -> dict[str, Any]:
        return {"account_id": str(account_id), **creator}

    @app.get("/internal/users/{user_id}/accounts/{account_id}")
    async def account(user_id: UUID, account_id: UUID) -> dict[str, Any]:
        return {"id": str(account_id), "user_id": str(user_id), "username": "creator", "status": "active", "version": 1}

    return app


async def _row(
    label: str,
    goal: int,
    port: int,
    make: Request,
    status: bytes,
    clock: ProcessorClock,
    services: Mapping[str, int],
) -> Row:
    # Caches, connections and plans are warm after the first; accounts have been asked about every creator.
    await _load(port, make, status, seconds=SECONDS / 2)
    rates, taken, spent = [], [], []
    for _ in range(ROUNDS):
        before, begin = clock.read(services), time.perf_counter()
        times = await _load(port, make, status, seconds=SECONDS)
        rates.append(len(times) / (time.perf_counter() - begin))
        taken += times
        spent.append(clock.read(services).per_thousand(before, len(times)))
    taken.sort()
    used = {name: sum(one.get(name, 0.0) for one in spent) / ROUNDS for name in {name for one in spent for name in one}}
    return Row(label, goal, sorted(rates)[ROUNDS // 2], _percentile(taken, 50), _percentile(taken, 99), used)


async def _load(port: int, make: Request, status: bytes, *, seconds: float) -> list[float]:
    """Send requests over all connections for so long; returns how many milliseconds each took."""
    end = time.perf_counter() + seconds
    times: list[float] = []

    async def one() -> None:
        async with _connection(port) as (reader, writer):
            while (began := time.perf_counter()) < end:
                writer.write(make())
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                if head[9:12] != status:
                    raise RuntimeError(f"{head[9:12].decode()}: {body.decode(errors='replace')[:500]}")
                times.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return times


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def _show(rows: Sequence[Row]) -> None:
    print(f"\nThrough the gateway, {CONNECTIONS} connections, events attached (load now {os.getloadavg()[0]:.1f})\n")
    print("| request | per second | goal | p50 ms | p99 ms | |\n|---|---|---|---|---|---|")
    for row in rows:
        is_reached = row.rate >= row.goal and (not row.label.startswith("POST") or row.p99 <= CREATE_GOAL_MS)
        word = verdict(row.label, is_reached)
        print(f"| {row.label} | {row.rate:,.0f} | >= {row.goal:,} | {row.p50:.1f} | {row.p99:.1f} | {word} |")
    print("\nProcessor time, ms per 1,000 requests\n")
    print(table({row.label: row.processor for row in rows}))
