"""Batches of 500 posts with the longest captions through the gateway: one alone, then twenty at once; times and memory.

Gateway and scheduler are the real programs, accounts is a stand-in. As most clients make JSON, all but ASCII is escaped: six bytes
for a character that the command then holds in three.
"""

import asyncio
import csv
import io
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from bench.due_posts import forget_queues
from bench.gateway import World, accounts_of
from bench.processing import AS_DEPLOYED, Memory
from bench.programs import Pipeline, gateway_before
from common.testing.databases import TestDatabases
from common.testing.http_server import serving
from common.testing.keys import UserKeys
from common.testing.servers import TestServers

ROWS, AT_ONCE = 500, 20
CAPTION = "\u8a9e" * 2_190
PATIENCE_S = 300.0
LOOK_EVERY_S = 0.1
IDLE_S = 0.1
"""Who uses less of a second has nothing to do."""
JSON_TYPE, CSV_TYPE = "application/json", "text/csv"


@dataclass(frozen=True, slots=True)
class Round:
    """So many batches at once: seconds until the last answer, its status codes, the largest answer, peaks in MB."""

    label: str
    body_mb: float
    seconds: float
    statuses: Mapping[int, int]
    answer_mb: float
    peaks: Mapping[str, float]


async def run(servers: TestServers) -> None:
    """Measure and print the table."""
    databases = TestDatabases(servers.postgres_url)
    keys = UserKeys()
    world = World(keys)
    try:
        urls = {"scheduler": await databases.migrated("scheduler")}
        await world.fill(urls["scheduler"])
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            world.store(Path(folder))
            async with serving(accounts_of(keys)) as accounts_url, AsyncExitStack() as stack:
                pipeline = Pipeline(urls, servers.rabbitmq_url, accounts_url, Path(folder))
                await forget_queues(pipeline.amqp_url)
                stack.push_async_callback(forget_queues, pipeline.amqp_url)
                address, processes = await stack.enter_async_context(gateway_before(pipeline, **AS_DEPLOYED))
                headers = {"Authorization": world.authorization}
                client = httpx.AsyncClient(base_url=address, headers=headers, timeout=PATIENCE_S, trust_env=False)
                await _measure(await stack.enter_async_context(client), world, processes)
    finally:
        await databases.drop_all()


async def _measure(client: httpx.AsyncClient, world: World, processes: Mapping[str, int]) -> None:
    memories = {name: Memory(process) for name, process in processes.items()}
    bodies: Mapping[str, Callable[[], bytes]] = {JSON_TYPE: lambda: _json(world), CSV_TYPE: lambda: _csv(world)}
    before = {name: memory.now() for name, memory in memories.items()}
    rounds = [await _round(client, memories, kind, make(), number) for number in (1, AT_ONCE) for kind, make in bodies.items()]
    await asyncio.sleep(2)
    after = {name: memory.now() for name, memory in memories.items()}
    _show(rounds, before, after)


async def _round(client: httpx.AsyncClient, memories: Mapping[str, Memory], kind: str, body: bytes, number: int) -> Round:
    async def one() -> tuple[int, int]:
        answer = await client.post("/api/v1/posts/bulk", content=body, headers={"Content-Type": kind})
        return answer.status_code, len(answer.content)

    async with _watched(memories):
        began = time.perf_counter()
        answers = await asyncio.gather(*(one() for _ in range(number)))
        seconds = time.perf_counter() - began
        # What was accepted only is still under way.
        await _until_idle(memories)
    peaks = {name: max(memory.seen) for name, memory in memories.items()}
    statuses = Counter(status for status, _ in answers)
    return Round(f"{number} of {kind}", len(body) / 1e6, seconds, statuses, max(size for _, size in answers) / 1e6, peaks)


@asynccontextmanager
async def _watched(memories: Mapping[str, Memory]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for memory in memories.values():
            await stack.enter_async_context(memory.watched(every=LOOK_EVERY_S))
        yield


async def _until_idle(memories: Mapping[str, Memory]) -> None:
    used = -IDLE_S
    while (now := sum(memory.processor_seconds() for memory in memories.values())) - used >= IDLE_S:
        used = now
        await asyncio.sleep(1)


def _rows(world: World) -> list[dict[str, str | bool]]:
    at = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    return [
        {
            "tiktok_account_id": str(world.accounts[number % len(world.accounts)]),
            "media_id": str(world.media[number % len(world.media)]),
            "caption": f"{CAPTION} {number}",
            "privacy_level": "SELF_ONLY",
            "scheduled_time": at,
            "allow_duplicate": True,
        }
        for number in range(ROWS)
    ]


def _json(world: World) -> bytes:
    return json.dumps({"posts": _rows(world)}).encode()


def _csv(world: World) -> bytes:
    rows = [{**row, "allow_duplicate": "true"} for row in _rows(world)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _show(rounds: list[Round], before: Mapping[str, float], after: Mapping[str, float]) -> None:
    print(f"\nBatches of {ROWS} posts with captions of 2,200 (load {os.getloadavg()[0]:.0f} at the end)\n")
    print("| | body MB | last answer after s | answers | largest answer MB | gateway at most MB | scheduler at most MB |")
    print("|---|---|---|---|---|---|---|")
    print(f"| before | | | | | {before['gateway']:.0f} | {before['scheduler']:.0f} |")
    for one in rounds:
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(one.statuses.items()))
        peaks = f"{one.peaks['gateway']:.0f} | {one.peaks['scheduler']:.0f}"
        print(f"| {one.label} | {one.body_mb:.1f} | {one.seconds:.1f} | {answers} | {one.answer_mb:.1f} | {peaks} |")
    print(f"| after | | | | | {after['gateway']:.0f} | {after['scheduler']:.0f} |")
