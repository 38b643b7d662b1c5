"""From the due time of a post to its job at the publisher: throughput of a burst, lateness at steady rates, among many waiting.

Job execution is paused. A job counts when its transaction has committed: a trigger of the benchmark notifies with the transaction's
number, PostgreSQL delivers that after the commit, and the moment of its arrival here is taken. Beside the burst stands the
processor time that each part used for it, from just before the due time until the last job (or event of analytics) was stored.
"""

import asyncio
import math
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
from fastapi import FastAPI

from bench.figures import verdict
from bench.processor_time import ProcessorClock, ProcessorTime, table
from bench.programs import Pipeline, analytics_beside, scheduler_and_publisher
from common.messaging.topology import dead_letter_name
from common.testing.databases import TestDatabases
from common.testing.http_server import serving
from common.testing.keys import UserKeys
from common.testing.servers import TestServers

IS_TRIAL = bool(os.environ.get("BENCH_TRIAL"))
"""Small numbers, to see that the benchmark works; its figures mean nothing."""
BURST, ROUNDS, USERS = (1_000, 1, 100) if IS_TRIAL else (20_000, 3, 1_000)
STEADY_SECONDS = 2 if IS_TRIAL else 20
WAITING = 50_000 if IS_TRIAL else 5_000_000
FILLS = not os.environ.get("BENCH_WITHOUT_WAITING")
"""Filling the database with waiting posts takes minutes; without, only the first half is measured."""
FILL_AT_ONCE = 500_000
PATIENCE_S = 300.0
QUEUES = (
    "publisher.post_due",
    "publisher.accounts",
    "publisher.webhooks",
    "scheduler.commands",
    "scheduler.batches",
    "scheduler.questions",
    "scheduler.media",
    "scheduler.publish_results",
    "scheduler.accounts",
    "analytics.all_events",
)

POSTS = """
INSERT INTO posts (id, user_id, account_id, status, caption, title, privacy_level, media_id, mode, transfer, scheduled_time,
                   next_attempt_at, publish_before, checked_version, correlation_id)
SELECT gen_random_uuid(), md5('u' || n % {users})::uuid, md5('a' || n % {users})::uuid, 'scheduled', 'Hello', 'Hello #there',
       'PUBLIC_TO_EVERYONE', $1, 'direct', 'upload', at, at, at + interval '1 day', 1, $2
FROM generate_series(1, $3) AS n, LATERAL (SELECT $4::timestamptz + n * $5::float8 * interval '1 second' AS at) AS made
"""
MEDIA = """
INSERT INTO media (id, user_id, status, filename, content_type, size_bytes, sha256, storage_key, duration_ms)
VALUES ($1, $1, 'ready', 'a.mp4', 'video/mp4', 1000000, repeat('ab', 32), 'media/a.mp4', 15000)
"""
TRIGGER = """
CREATE FUNCTION bench_told() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  PERFORM pg_notify('bench_jobs', pg_current_xact_id()::xid::text || ' ' || (SELECT count(*) FROM added));
  RETURN NULL;
END $$;
CREATE TRIGGER bench_told AFTER INSERT ON publish_jobs REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION bench_told();
"""
EVENTS = "SELECT count(*) FROM audit.records WHERE key = 'scheduler.post.due.v1'"
JOBS = "SELECT xmin::text AS number, extract(epoch FROM due_at)::float8 AS due FROM publish_jobs WHERE correlation_id = $1"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured way: posts per second of the burst (median of the rounds), lateness in milliseconds at two rates."""

    label: str
    burst: float
    slow: tuple[float, float]
    fast: tuple[float, float]
    processor: Mapping[str, float]
    """Milliseconds per thousand posts of the burst, per part (mean of the rounds)."""


class Bench:
    """The databases: posts go into one, jobs are heard of from the other, events are counted in the third."""

    def __init__(self, posts: asyncpg.Connection, jobs: asyncpg.Connection, events: asyncpg.Connection) -> None:
        self._posts = posts
        self._jobs = jobs
        self._events = events
        self._heard: dict[str, float] = {}
        self._missing = 0
        self._complete = asyncio.Event()
        self._media_id = uuid4()

    async def prepare(self) -> None:
        """Make the file of all posts, and hear of every commit of jobs."""
        await self._posts.execute(MEDIA, self._media_id)
        await self._jobs.execute(TRIGGER)
        await self._jobs.add_listener("bench_jobs", self._hear)

    async def fill(self, number: int) -> None:
        """Add posts that are due in a month or later."""
        later = "now() + interval '30 days'"
        for first in range(0, number, FILL_AT_ONCE):
            await self._insert(
                "waiting", min(FILL_AT_ONCE, number - first), await self._posts.fetchval(f"SELECT {later}"), 1.0
            )
        await self._posts.execute("VACUUM ANALYZE posts", timeout=1_200)

    async def run(self, number: int, *, gap: float, before: Callable[[], None] | None = None) -> list[tuple[float, float]]:
        """Let so many posts fall due, `gap` seconds apart; returns due time and arrival of each job's commit (epoch seconds).

        `before` is called when all is prepared, shortly before the first due time.
        """
        label = uuid4().hex
        await self._posts.execute("VACUUM posts", timeout=1_200)
        await self._jobs.execute("VACUUM publish_jobs", timeout=1_200)
        self._missing = number
        self._complete.clear()
        lead = 3 + number / 5_000
        first = await self._posts.fetchval("SELECT clock_timestamp() + $1::float8 * interval '1 second'", lead)
        await self._insert(label, number, first, gap)
        if await self._posts.fetchval("SELECT clock_timestamp() > $1", first):
            raise RuntimeError("the machine is too slow to insert the posts before they are due")
        if before is not None:
            before()
        async with asyncio.timeout(lead + number * gap + PATIENCE_S):
            await self._complete.wait()
        return [(row["due"], self._heard[row["number"]]) for row in await self._jobs.fetch(JOBS, label)]

    async def burst(self, read: Callable[[], ProcessorTime], *, with_events: bool) -> tuple[float, dict[str, float]]:
        """Let all posts of a burst fall due at once; returns jobs per second and processor milliseconds per thousand posts."""
        stored = await self._events.fetchval(EVENTS)
        began: list[ProcessorTime] = []
        jobs = await self.run(BURST, gap=0, before=lambda: began.append(read()))
        async with asyncio.timeout(PATIENCE_S):
            while with_events and await self._events.fetchval(EVENTS) < stored + BURST:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.1)
        return len(jobs) / (max(at for _, at in jobs) - jobs[0][0]), read().per_thousand(began[0], BURST)

    async def _insert(self, label: str, number: int, first: object, gap: float) -> None:
        await self._posts.execute(POSTS.format(users=USERS), self._media_id, label, number, first, gap, timeout=1_200)

    def _hear(self, _: object, __: int, ___: str, payload: object) -> None:
        number, added = str(payload).split()
        self._heard[number] = time.time()
        self._missing -= int(added)
        if self._missing <= 0:
            self._complete.set()


async def run(servers: TestServers) -> None:
    """Measure all ways, print the tables."""
    databases = TestDatabases(servers.postgres_url)
    try:
        urls = {name: await databases.migrated(name) for name in ("scheduler", "publisher", "analytics")}
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            async with serving(accounts_stand_in()) as accounts_url:
                await _measure(Pipeline(urls, servers.rabbitmq_url, accounts_url, Path(folder)))
    finally:
        await databases.drop_all()


def accounts_stand_in() -> FastAPI:
    """Return a stand-in for accounts: the keys of users' tokens, without which no service is ready."""
    keys, app = UserKeys(), FastAPI(openapi_url=None)

    @app.get("/.well-known/jwks.json")
    async def jwks() -> dict[str, Any]:
        return keys.jwks()

    return app


async def _measure(pipeline: Pipeline) -> None:
    clock = await ProcessorClock.of_servers(pipeline.databases["scheduler"], pipeline.amqp_url)
    async with _connections(pipeline) as bench:
        await bench.prepare()
        plain = await _ways(pipeline, bench, clock, "")
        _show(plain)
        if not FILLS:
            return
        begin = time.perf_counter()
        await bench.fill(WAITING)
        print(f"\n{WAITING:,} waiting posts added in {time.perf_counter() - begin:.0f} s")
        among = await _ways(pipeline, bench, clock, f", {WAITING:,} others waiting")
        _show(among)
        _compare(plain, among)


async def _ways(pipeline: Pipeline, bench: Bench, clock: ProcessorClock, more: str) -> list[Row]:
    await forget_queues(pipeline.amqp_url)
    try:
        async with scheduler_and_publisher(pipeline) as services:
            # Caches, connections and plans are warm after the first.
            await bench.run(1_000, gap=0)
            rows = [await _row(bench, f"publisher alone{more}", lambda: clock.read(services))]
            async with analytics_beside(pipeline) as analytics:
                everything = {**services, "analytics": analytics}
                rows.append(await _row(bench, f"with analytics{more}", lambda: clock.read(everything), with_events=True))
        return rows
    finally:
        await forget_queues(pipeline.amqp_url)


async def _row(bench: Bench, label: str, read: Callable[[], ProcessorTime], *, with_events: bool = False) -> Row:
    bursts = [await bench.burst(read, with_events=with_events) for _ in range(ROUNDS)]
    slow, fast = [_lateness(await bench.run(rate * STEADY_SECONDS, gap=1 / rate)) for rate in (100, 1_000)]
    used = {name: statistics.fmean(spent.get(name, 0.0) for _, spent in bursts) for name in bursts[0][1]}
    return Row(label, statistics.median(rate for rate, _ in bursts), slow, fast, used)


def _lateness(jobs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return median and 99th percentile in milliseconds."""
    late = sorted((at - due) * 1000 for due, at in jobs)
    return late[len(late) // 2], late[math.ceil(len(late) * 0.99) - 1]


def _show(rows: Sequence[Row]) -> None:
    print(f"\n| | burst of {BURST:,}, jobs/s | goal | at 100/s: p50, p99 ms | goal | at 1,000/s: p50, p99 ms | goal p99 | |")
    print("|---|---|---|---|---|---|---|---|")
    for row, burst, fast in zip(rows, (4_000, 3_000), (20, 50), strict=True):
        reached = row.burst >= burst and row.slow[0] <= 5 and row.slow[1] <= 15 and row.fast[1] <= fast
        print(
            f"| {row.label} | {row.burst:,.0f} | >= {burst:,} | {row.slow[0]:.1f}, {row.slow[1]:.1f} | <= 5, <= 15"
            f" | {row.fast[0]:.1f}, {row.fast[1]:.1f} | <= {fast} | {verdict(row.label, reached)} |"
        )
    print(f"\nProcessor time of the burst, ms per 1,000 posts (load now {os.getloadavg()[0]:.1f})\n")
    print(table({row.label: row.processor for row in rows}))


def _compare(plain: Sequence[Row], among: Sequence[Row]) -> None:
    print("\n| with the others waiting, against without (goal: within 1.2x) | burst | p99 at 100/s | p99 at 1,000/s | |")
    print("|---|---|---|---|---|")
    for one, other in zip(plain, among, strict=True):
        ratios = (one.burst / other.burst, other.slow[1] / one.slow[1], other.fast[1] / one.fast[1])
        shown = " | ".join(f"{ratio:.2f}x" for ratio in ratios)
        print(f"| {one.label} | {shown} | {verdict(f'{one.label}, compared', max(ratios) <= 1.2)} |")


@asynccontextmanager
async def _connections(pipeline: Pipeline) -> AsyncIterator[Bench]:
    posts = await asyncpg.connect(pipeline.databases["scheduler"])
    try:
        jobs = await asyncpg.connect(pipeline.databases["publisher"])
        events = await asyncpg.connect(pipeline.databases["analytics"])
        try:
            yield Bench(posts, jobs, events)
        finally:
            await jobs.close()
            await events.close()
    finally:
        await posts.close()


async def forget_queues(amqp_url: str) -> None:
    """Delete the services' queues with what they hold."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        for name in QUEUES:
            for queue in (name, dead_letter_name(name)):
                await channel.queue_delete(queue)
