"""How fast analytics takes events into the audit trail and into its copies, and what one costs: a backlog, then 3,000 a second.

Each post's life is six events, as big as real ones. For the backlog the service is held still (SIGSTOP) until all of them are in
its queue; then the time from the first record to the last counts, by the database's clock, and the time until the copies of posts
and accounts (the projection) have got as far. In the steady part every tenth event is sent twice, how late an event is recorded
counts from the moment it was made, and how far behind the copies are from the last record on. Processor time is that until the
copies have caught up. At the end the chain of hashes is proven, and each event has to be in it once.
"""

import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from analytics.usecases.verify_audit import verify_audit
from bench.due_posts import accounts_stand_in, forget_queues
from bench.figures import verdict
from bench.processor_time import ProcessorClock, table
from bench.programs import Pipeline
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.message import Event
from common.contracts.publisher import PublishStarted, PublishSubmitted, PublishSucceeded
from common.contracts.scheduler import MediaFile, PostContent, PostDue, PostPublished, PostScheduled
from common.database import Database
from common.ids import uuid7
from common.messaging.publisher import MessagePublisher
from common.messaging.topology import EVENTS
from common.messaging.wire.frames import Publication
from common.testing.databases import TestDatabases
from common.testing.http_server import serving
from common.testing.servers import TestServers

IS_TRIAL = bool(os.environ.get("BENCH_TRIAL"))
BACKLOG, ROUNDS = (3_000, 1) if IS_TRIAL else (60_000, 3)
RATE, SECONDS = 3_000, 2 if IS_TRIAL else 20
TICK_S = 0.02
TWICE_EVERY = 10
AT_ONCE = 500
PATIENCE_S = 300.0

LAST = "SELECT coalesce((SELECT seq FROM audit.records ORDER BY recorded_at DESC, seq DESC LIMIT 1), 0)"
COPIED = "SELECT coalesce((SELECT seq FROM projection), 0)"
SINCE = "SELECT extract(epoch FROM clock_timestamp() - {edge}(recorded_at))::float8 FROM audit.records WHERE seq > $1"
SPAN = "SELECT extract(epoch FROM max(recorded_at) - min(recorded_at))::float8 FROM audit.records WHERE seq > $1"
LATE = """
SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM recorded_at - time)::float8 * 1000)
FROM audit.records WHERE seq > $1
"""


async def run(servers: TestServers) -> None:
    """Measure and print the tables."""
    databases = TestDatabases(servers.postgres_url)
    try:
        urls = {"analytics": await databases.migrated("analytics")}
        with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
            async with serving(accounts_stand_in()) as accounts_url:
                await _measure(Pipeline(urls, servers.rabbitmq_url, accounts_url, Path(folder)), servers)
    finally:
        await databases.drop_all()


async def _measure(pipeline: Pipeline, servers: TestServers) -> None:
    clock = await ProcessorClock.of_servers(servers.postgres_url, pipeline.amqp_url)
    publisher = MessagePublisher(SecretStr(pipeline.amqp_url), service="bench")
    records = await asyncpg.connect(pipeline.databases["analytics"])
    await forget_queues(pipeline.amqp_url)
    await publisher.start()
    try:
        async with pipeline.run("analytics") as process:
            await _publish(publisher, list(_events(600)))
            await _recorded(records, 600)
            await _copied(records, 600)
            rounds = [await _backlog(publisher, records, clock, process) for _ in range(ROUNDS)]
            late, behind, used = await _steady(publisher, records, clock, process)
        total = 600 + ROUNDS * BACKLOG + RATE * SECONDS
        proven = await _proven(pipeline.databases["analytics"])
    finally:
        await records.close()
        await publisher.stop()
        await forget_queues(pipeline.amqp_url)
    rate = statistics.median(rate for rate, _, _ in rounds)
    copied = statistics.median(copied for _, copied, _ in rounds)
    print("\n| | measured | goal | |\n|---|---|---|---|")
    print(f"| backlog of {BACKLOG:,}, events/s | {rate:,.0f} | >= {RATE:,} | {verdict('backlog', rate >= RATE)} |")
    print(
        f"| the same, until the copies have it too, events/s | {copied:,.0f} | >= {RATE:,} | {verdict('copies', copied >= RATE)} |"
    )
    print(
        f"| {RATE:,}/s for {SECONDS} s, recorded after ms (p50, p99, last) | {', '.join(f'{ms:.0f}' for ms in late)} | keeps up | |"
    )
    print(f"| copies have the last of them, ms after its record | {behind * 1000:.0f} | keep up | |")
    print(f"| in the chain, each once | {proven:,} of {total:,} | all | {verdict('in the chain', proven == total)} |")
    print(f"\nProcessor time, ms per 1,000 events (load now {os.getloadavg()[0]:.1f})\n")
    print(table({"backlog": rounds[-1][2], f"{RATE:,}/s": used}))


async def _backlog(
    publisher: MessagePublisher, records: asyncpg.Connection, clock: ProcessorClock, process: int
) -> tuple[float, float, dict[str, float]]:
    """Return events per second into the trail and into the copies, and the processor milliseconds per thousand of each part."""
    before = await records.fetchval(LAST)
    os.kill(process, signal.SIGSTOP)
    try:
        await _publish(publisher, list(_events(BACKLOG)))
        began = clock.read({"analytics": process})
    finally:
        os.kill(process, signal.SIGCONT)
    await _recorded(records, before + BACKLOG)
    await _copied(records, before + BACKLOG)
    copied = BACKLOG / await records.fetchval(SINCE.format(edge="min"), before)
    used = clock.read({"analytics": process}).per_thousand(began, BACKLOG)
    return BACKLOG / await records.fetchval(SPAN, before), copied, used


async def _steady(
    publisher: MessagePublisher, records: asyncpg.Connection, clock: ProcessorClock, process: int
) -> tuple[Sequence[float], float, dict[str, float]]:
    """Return how late events were recorded (ms), how far behind the copies were (s), and processor milliseconds per thousand."""
    before, total, each = await records.fetchval(LAST), RATE * SECONDS, round(RATE * TICK_S)
    start = datetime.now(UTC) + timedelta(seconds=2 + total / 10_000)
    told = list(_events(total, start=start, gap=timedelta(seconds=1 / RATE)))
    began = clock.read({"analytics": process})
    for first in range(0, total, each):
        due = start + timedelta(seconds=(first + each) / RATE)
        await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
        tick = told[first : first + each]
        await _publish(publisher, [*tick, *tick[::TWICE_EVERY]])
    await _recorded(records, before + total)
    await _copied(records, before + total)
    behind = await records.fetchval(SINCE.format(edge="max"), before)
    used = clock.read({"analytics": process}).per_thousand(began, total)
    return await records.fetchval(LATE, before), behind, used


async def _publish(publisher: MessagePublisher, publications: Sequence[Publication]) -> None:
    for first in range(0, len(publications), AT_ONCE):
        outcomes = await publisher.publish_all(publications[first : first + AT_ONCE])
        if outcomes.unknown or outcomes.refused:
            raise RuntimeError("the broker did not confirm every event")


async def _recorded(records: asyncpg.Connection, number: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await records.fetchval(LAST) < number:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)


async def _copied(records: asyncpg.Connection, number: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await records.fetchval(COPIED) < number:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def _proven(url: str) -> int:
    database = Database(url, application_name="bench", pool_size=1)
    try:
        async with database.read() as connection:
            return (await verify_audit(connection, trusted=())).records
    finally:
        await database.stop()


def _events(number: int, *, start: datetime | None = None, gap: timedelta = timedelta()) -> Iterator[Publication]:
    """Yield so many events of posts; with `start`, each made at its time."""
    for place in range(number):
        if place % 6 == 0:
            life = _life(uuid7(), uuid4(), uuid4())
        service, event, sequence = life[place % 6]
        moment = None if start is None else start + place * gap
        subject = str(getattr(event, "post_id"))  # noqa: B009 - of all six
        context = Context.of_service(service, user_id=life[1][1].user_id, correlation_id=subject)  # type: ignore[attr-defined]
        envelope = wrap(event, service=service, subject=subject, context=context, sequence=sequence, time=moment)
        yield Publication(EVENTS.name, event.KEY, envelope.to_bytes(), envelope.type, int(time.time()))


def _life(post: UUID, account: UUID, user: UUID) -> list[tuple[str, Event, int]]:
    now = datetime.now(UTC)
    about = {"post_id": post, "account_id": account, "attempt": 1, "scheduled_time": now}
    job = {"post_id": post, "account_id": account, "attempt": 1, "job_id": uuid7(), "replica": "publisher-1"}
    media = MediaFile(
        media_id=uuid7(), storage_key=f"media/{post}.mp4", content_type="video/mp4", size_bytes=7_340_032, sha256="ab" * 32
    )
    content = PostContent(title="A caption of the usual length, with a tag #cuepost", privacy_level="SELF_ONLY")
    due = {"user_id": user, "due_at": now, "publish_before": now, "mode": "direct", "transfer": "upload"}
    publish_id = "v_pub_file~v2-1.7300000000000000001"
    return [
        ("scheduler", PostScheduled.model_validate({**about, "status": "scheduled"}), 1),
        ("scheduler", PostDue.model_validate({**about, **due, "status": "due", "content": content, "media": media}), 2),
        ("publisher", PublishStarted.model_validate({**job, "due_at": now, "started_at": now, "lateness_ms": 3.2}), 1),
        ("publisher", PublishSubmitted.model_validate({**job, "publish_id": publish_id, "total_bytes": 7_340_032}), 2),
        (
            "publisher",
            PublishSucceeded.model_validate({**job, "publish_id": publish_id, "outcome": "published", "published_at": now}),
            3,
        ),
        ("scheduler", PostPublished.model_validate({**about, "status": "published", "published_at": now}), 3),
    ]
