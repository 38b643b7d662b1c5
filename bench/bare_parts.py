"""What this machine's bare parts can do, against what they did where the goals were set: figures of other benchmarks depend on it.

Nothing of Cuepost runs here: one HTTP hop over httpx with the aiohttp transport, single-row commits, confirmed publishes,
deliveries with acknowledgement, each driven by one process, as one service would. And how long the disk takes to make a page
durable: a due post waits for that three times, in the scheduler's commit, in RabbitMQ and in the publisher's commit.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import asyncpg
import httpx
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from httpx_aiohttp import AiohttpTransport

from common.testing.http_server import free_port
from common.testing.servers import TestServers

SECONDS = 4.0
AT_ONCE = 8
MESSAGES, IN_FLIGHT, PREFETCH = 30_000, 500, 500
PAGE, PAGES, DISK_SECONDS = b"x" * 8_192, 2_000, 15.0
BODY = b"x" * 1_300
"""As long as most events are."""
SERVER = """
import sys
from fastapi import FastAPI
import uvicorn
app = FastAPI(openapi_url=None)
@app.get("/{name}")
async def show(name: str) -> dict[str, str]:
    return {"name": name, "more": "x" * 900}
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""
WHERE_SET = {
    "HTTP hop, 8 at once": 2_206,
    "single-row commits, 8 connections": 4_100,
    "confirmed publishes to a quorum queue": 11_000,
    "deliveries and acknowledgements": 9_800,
}
"""Per second, on the 2-core machine on which the goals were set (design, sections 2 and 9)."""


async def run(servers: TestServers) -> None:
    """Measure and print the table."""
    rates = dict(
        zip(
            WHERE_SET,
            [
                await _hops(),
                await _commits(servers.postgres_url),
                *await _messages(servers.rabbitmq_url),
            ],
            strict=True,
        )
    )
    print("\n| bare part | per second | where the goals were set | |\n|---|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {WHERE_SET[name]:,} | {rate / WHERE_SET[name]:.2f}x |")
    times = sorted(await asyncio.to_thread(_page_writes))
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(
        f"\nA page made durable (8 KiB, fdatasync), {len(times):,} times: p50 {p50:.1f}, p99 {p99:.1f}, slowest {times[-1]:.1f} ms"
    )


def _page_writes() -> list[float]:
    """Return how many milliseconds each took, with pauses between them, in the folder in which servers of a run keep their data."""
    times: list[float] = []
    with tempfile.TemporaryFile() as file:
        file.write(PAGE * PAGES)
        file.flush()
        os.fsync(file.fileno())
        end = time.perf_counter() + DISK_SECONDS
        while time.perf_counter() < end:
            begin = time.perf_counter()
            os.pwrite(file.fileno(), PAGE, len(times) % PAGES * len(PAGE))
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
            time.sleep(0.005)
    return times


async def _hops() -> float:
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, str(port))
    try:
        async with httpx.AsyncClient(
            transport=AiohttpTransport(), base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False
        ) as http:
            await _listening(http)

            async def ask() -> None:
                (await http.get("/something")).raise_for_status()

            return await _rate(ask)
    finally:
        process.terminate()
        await process.wait()


async def _listening(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await http.get("/anything")
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


async def _commits(url: str) -> float:
    async with asyncpg.create_pool(url, min_size=AT_ONCE, max_size=AT_ONCE) as pool:
        table = f"bare_{uuid4().hex}"
        await pool.execute(f"CREATE TABLE {table} (id uuid PRIMARY KEY, body bytea NOT NULL)")
        try:

            async def insert() -> None:
                await pool.execute(f"INSERT INTO {table} VALUES ($1, $2)", uuid4(), BODY)

            return await _rate(insert)
        finally:
            await pool.execute(f"DROP TABLE {table}")


async def _messages(url: str) -> tuple[float, float]:
    """Return confirmed publishes, and deliveries with acknowledgement, per second."""
    async with _queue(url) as (channel, queue):
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def publish() -> None:
            async with slots:
                message = aio_pika.Message(BODY, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=uuid4().hex)
                await channel.default_exchange.publish(message, queue.name)

        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(MESSAGES):
                group.create_task(publish())
        published = MESSAGES / (time.perf_counter() - begin)
        left, done = MESSAGES, asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal left
            await message.ack()
            left -= 1
            if not left:
                done.set()

        begin = time.perf_counter()
        consumer = await queue.consume(take)
        async with asyncio.timeout(120):
            await done.wait()
        consumed = MESSAGES / (time.perf_counter() - begin)
        await queue.cancel(consumer)
        return published, consumed


@asynccontextmanager
async def _queue(url: str) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(PREFETCH)
        queue = await channel.declare_queue(f"bare.{uuid4().hex}", durable=True, arguments={"x-queue-type": "quorum"})
        try:
            yield channel, queue
        finally:
            await queue.delete(if_unused=False, if_empty=False)


async def _rate(call: Callable[[], Awaitable[None]]) -> float:
    """Return how many calls a second end, 8 at once, after a second to warm up."""
    for seconds in (1.0, SECONDS):
        end, begin, number = time.perf_counter() + seconds, time.perf_counter(), 0

        async def one() -> int:
            count = 0
            while time.perf_counter() < end:  # noqa: B023 - ends within the round
                await call()
                count += 1
            return count

        number = sum(await asyncio.gather(*(one() for _ in range(AT_ONCE))))
        rate = number / (time.perf_counter() - begin)
    return rate
