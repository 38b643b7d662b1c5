"""Months exist in time, old ones go as a whole, and no event is lost or doubled on the way."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from analytics.domain.event import Event
from analytics.domain.month import Month
from analytics.loops.retention import Retention
from analytics.storage.tables import events
from analytics.usecases.keep_months import DELETE_BATCH, keep_months
from analytics.usecases.record_events import record_events
from common.database import Database
from common.database.migrate import upgrade
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
YEAR = timedelta(days=400)


@pytest.fixture
async def database(empty_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    url = await empty_database("retention")
    await upgrade("analytics", url)
    opened = Database(url, application_name="test")
    yield opened
    await opened.stop()


def event(moment: datetime, number: int = 0, *, v7: bool = True) -> Event:
    identifier = UUID(int=(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0b10 << 62) | number) if v7 else timeless()
    return Event(id=identifier, key="a.b.c.v1", source="/services/a", subject="s", time=moment)


def timeless() -> UUID:
    """Return a random id that lies in no month: one UUID4 in 20,000 would, by its first 48 bits."""
    return UUID(int=uuid4().int | 0xFF << 120)


async def store(database: Database, *batch: Event) -> int:
    async with database.transaction() as tx:
        return await record_events(tx, batch)


async def where(database: Database) -> dict[str, int]:
    """How many events lie in which part."""
    async with database.read() as connection:
        rows = await connection.execute(text("SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1"))
        return {row[0]: row[1] for row in rows}


async def keep(database: Database, now: datetime = NOW, retention: timedelta = YEAR) -> tuple[list[str], list[str], int]:
    async with database.transaction() as tx:
        kept = await keep_months(tx, now=now, retention=retention)
    return [month.partition for month in kept.added], [month.partition for month in kept.dropped], kept.deleted


async def test_months_are_made_ahead_once(database: Database) -> None:
    added = [Month(2026, 10).plus(number).partition for number in range(5)]
    assert await keep(database) == (added, [], 0)
    assert await keep(database) == ([], [], 0)
    assert await keep(database, NOW + timedelta(days=31)) == (["events_2027_03"], [], 0)


async def test_after_a_long_stop_the_months_between_are_made_too(database: Database) -> None:
    await keep(database)
    added, _, _ = await keep(database, NOW + timedelta(days=200))
    assert (added[0], added[-1]) == ("events_2027_03", "events_2027_09")


async def test_an_event_lies_in_its_month_and_is_stored_once_over_all_parts(database: Database) -> None:
    edge = datetime(2026, 12, 1, tzinfo=UTC)
    batch = [event(NOW), event(edge), event(edge - timedelta(milliseconds=1)), event(NOW, v7=False)]
    await keep(database)
    assert await store(database, *batch) == 4
    assert await store(database, *batch) == 0
    assert await where(database) == {"events_2026_11": 2, "events_2026_12": 1, "events_default": 1}


async def test_what_came_before_its_month_was_made_is_moved_into_it(database: Database) -> None:
    early = [event(NOW, number) for number in range(10)]
    await store(database, *early, event(NOW, v7=False))
    assert await where(database) == {"events_default": 11}
    await keep(database)
    assert await where(database) == {"events_2026_11": 10, "events_default": 1}
    assert await store(database, *early) == 0


async def test_a_month_goes_when_all_of_it_is_past_the_retention(database: Database) -> None:
    await keep(database, NOW - YEAR)
    old = Month.of(NOW - YEAR)
    await store(database, event(old.start), event(old.plus(-1).start), event(NOW - YEAR - timedelta(days=60), v7=False))
    added, dropped, deleted = await keep(database)
    assert dropped == [old.plus(-1).partition]
    assert deleted == 1
    assert added[-1] == "events_2027_02"
    assert await where(database) == {old.partition: 1}


async def test_the_loop_deletes_in_batches_until_nothing_old_is_left(database: Database) -> None:
    old = NOW - YEAR - timedelta(days=1)
    await store(database, *(event(old, v7=False) for _ in range(DELETE_BATCH + 5)), event(NOW, v7=False))
    loop = Retention(database, retention=YEAR, now=lambda: NOW)
    await loop.start()

    async def done() -> bool:
        async with database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(events)) == 1

    await eventually(done)
    await eventually(lambda: loop.healthy() is None)
    await loop.stop()


async def test_two_replicas_take_turns(database: Database) -> None:
    loops = [Retention(database, retention=YEAR, now=lambda: NOW) for _ in range(4)]
    for loop in loops:
        await loop.start()

    async def made() -> bool:
        async with database.read() as connection:
            return await connection.scalar(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")) == 6

    await eventually(made)
    for loop in loops:
        await loop.stop()
        assert loop._failures == 0
