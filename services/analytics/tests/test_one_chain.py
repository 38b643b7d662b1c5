"""However many write, die and repeat: one chain, each event once."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from analytics.domain.event import Event
from analytics.usecases.record_events import record_events
from analytics.usecases.verify_audit import verify_audit
from common.database import Database
from common.ids import uuid7

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)


@pytest.fixture
async def url(migrated_database: Callable[[str], Awaitable[str]]) -> str:
    return await migrated_database("analytics")


@pytest.fixture
async def replicas(url: str) -> AsyncIterator[list[Database]]:
    opened = [Database(url, application_name=f"analytics-{number}", pool_size=2) for number in range(3)]
    yield opened
    for database in opened:
        await database.stop()


def told(number: int) -> list[Event]:
    return [Event(uuid7(), "a.b.c.v1", "/services/a", "s", NOW, data={"n": n}) for n in range(number)]


async def proven(database: Database) -> int:
    async with database.read() as connection:
        return (await verify_audit(connection, trusted=set())).records


async def test_writers_that_race_make_one_chain_and_no_event_twice(replicas: list[Database]) -> None:
    events = told(400)

    async def replica(database: Database, seed: int) -> int:
        mine, new = list(events), 0
        random.Random(seed).shuffle(mine)
        for start in range(0, len(mine), 20):
            async with database.transaction() as tx:
                new += len(await record_events(tx, mine[start : start + 20]))
        return new

    new = await asyncio.gather(*(replica(database, seed) for seed, database in enumerate(replicas * 2)))
    assert sum(new) == 400
    assert await proven(replicas[0]) == 400


async def test_a_writer_that_dies_with_the_chain_in_hand_leaves_it_as_it_was(replicas: list[Database]) -> None:
    first, second, third = told(3), told(3), told(3)
    dying, other, looking = replicas
    await record(dying, first)
    waiting: list[asyncio.Task[int]] = []

    async def die_with_the_chain_in_hand() -> None:
        async with dying.transaction() as tx:
            await record_events(tx, second)
            waiting.append(asyncio.create_task(record(other, third)))
            await blocked(looking)
            assert not waiting[0].done()
            async with looking.read() as connection:
                await connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + IN_HAND))
            await tx.connection.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError):
        await die_with_the_chain_in_hand()
    assert await waiting[0] == 3
    assert await record(other, second + first) == 3, "redelivered: what was not committed is new, the rest is not"
    assert await proven(other) == 9


IN_HAND = "datname = current_database() AND state = 'idle in transaction' AND application_name = 'analytics-0'"


async def record(database: Database, events: list[Event]) -> int:
    async with database.transaction() as tx:
        return len(await record_events(tx, events))


async def blocked(database: Database) -> None:
    """Wait until somebody waits for the end of the chain."""
    async with asyncio.timeout(60):
        while True:
            async with database.read() as connection:
                query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                if await connection.scalar(text(query)):
                    return


async def test_a_batch_may_hold_an_event_twice(replicas: list[Database]) -> None:
    one, two = told(2)
    assert await record(replicas[0], [one, two, one]) == 2
    assert await record(replicas[0], [two, one]) == 0
    assert await proven(replicas[0]) == 2
