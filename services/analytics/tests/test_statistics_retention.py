"""Months of statistics exist in time and go as a whole; daily measures and copies go a batch at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from analytics.domain.measures import AccountMeasure
from analytics.domain.month import Month
from analytics.loops.statistics_gauges import StatisticsGauges
from analytics.loops.statistics_retention import StatisticsRetention
from analytics.settings import Settings
from analytics.storage.account_measures import store_measures
from analytics.storage.lateness import lateness
from analytics.storage.statistics_months import TABLES, StatisticsTable, ensure_months, partitions
from analytics.usecases.keep_statistics import AHEAD, Kept, keep_statistics_months
from common.database import Database
from common.ids import uuid7
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)
THIS = Month.of(NOW)
DAY = timedelta(days=1)
KEPT = Kept(snapshots=100 * DAY, metrics=50 * DAY, days=200 * DAY, posts=300 * DAY)


@pytest.fixture
async def database(migrated_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    opened = Database(await migrated_database("analytics"), application_name="test")
    yield opened
    await opened.stop()


async def months(database: Database, table: StatisticsTable) -> list[Month]:
    async with database.read_fast() as driver:
        return (await partitions(driver, table))[0]


async def run(database: Database, statement: str, **values: Any) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(text(statement), values)


async def count(database: Database, table: str) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


@pytest.mark.parametrize("table", TABLES)
async def test_months_are_made_ahead_and_dropped_past_their_retention(
    database: Database, as_owner: Callable[[str], str], table: StatisticsTable
) -> None:
    """What somebody made under another name stays."""
    owner = Database(as_owner(str(database.engine.url.render_as_string(hide_password=False))), application_name="test")
    await run(owner, f"CREATE TABLE by_hand PARTITION OF {table} FOR VALUES FROM ('1990-01-01') TO ('1990-02-01')")
    await owner.stop()
    assert await months(database, table) == [THIS.plus(number) for number in range(-1, AHEAD + 1)]
    edge = Month.of(NOW - KEPT.of(table))
    async with database.transaction() as tx:
        await ensure_months(tx.driver, table, [edge, edge.plus(-1), edge.plus(-5)])
    async with database.transaction() as tx:
        dropped, strange = await keep_statistics_months(tx, table, KEPT, now=NOW)
    assert (dropped, strange) == ([edge.plus(-5), edge.plus(-1)], ["by_hand"])
    assert edge in await months(database, table)
    later = THIS.plus(1).start
    past = [edge] if edge < Month.of(later - KEPT.of(table)) else []
    async with database.transaction() as tx:
        assert await keep_statistics_months(tx, table, KEPT, now=later) == (past, ["by_hand"])
    left = {edge, *(THIS.plus(number) for number in range(-1, AHEAD + 2))} - set(past)
    assert await months(database, table) == sorted(left)


async def test_a_measure_whose_month_is_missing_makes_it(database: Database) -> None:
    old = NOW - 500 * DAY
    async with database.transaction() as tx:
        await store_measures(tx.driver, [AccountMeasure(uuid7(), old, 1, 2, 3, 4)])
    assert Month.of(old) in await months(database, "account_snapshots")


async def test_what_is_kept_no_longer_goes_in_batches(database: Database) -> None:
    days = "INSERT INTO account_days SELECT :account, CAST(:first AS date) + n, now(), 1, 1, 1, 1 FROM generate_series(0, 9) n"
    first = (NOW - 205 * DAY).date()
    await run(database, days, account=uuid7(), first=first)
    posts = (
        "INSERT INTO stats_posts (post_id, user_id, state, heard_at, placed_at, metrics_due_at)"
        " VALUES (:post, :post, :state, :heard, :heard, :due)"
    )
    old, young = NOW - 301 * DAY, NOW - 299 * DAY
    kept = [uuid7() for _ in range(3)]
    for post, state, heard, due in [
        (kept[0], "scheduled", old, None),
        (kept[1], "published", old, NOW),
        (kept[2], "published", young, None),
        *((uuid7(), state, old, None) for state in ("published", "sent_to_inbox", "failed", "cancelled", "unconfirmed")),
    ]:
        await run(database, posts, post=post, state=state, heard=heard, due=due)
    accounts = (
        "INSERT INTO stats_accounts (account_id, user_id, sequence, status, scopes)"
        " VALUES (:account, :account, 1, :status, '{}')"
    )
    ancient = [UUID(int=(int((NOW - age * DAY).timestamp() * 1000) << 80) + 7) for age in (201, 202, 203)]
    await run(database, accounts, account=ancient[0], status="disconnected")
    await run(database, accounts, account=ancient[1], status="active")
    await run(database, accounts, account=ancient[2], status="disconnected")
    await run(database, accounts, account=uuid7(), status="disconnected")
    await run(database, days, account=ancient[2], first=NOW.date())

    loops = [StatisticsRetention(database, KEPT, batch=2) for _ in range(2)]
    for loop in loops:
        await loop.start()

    async def settled() -> bool:
        return [await count(database, name) for name in ("account_days", "stats_posts", "stats_accounts")] == [15, 3, 3]

    await eventually(settled)
    for loop in loops:
        await loop.stop()
        assert loop._failures == 0
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT min(day) FROM account_days")) == (NOW - 200 * DAY).date()
        assert set(await connection.scalars(text("SELECT post_id FROM stats_posts"))) == set(kept)
        assert ancient[0] not in set(await connection.scalars(text("SELECT account_id FROM stats_accounts")))


async def test_what_is_late_is_measured(database: Database) -> None:
    soon = datetime.now(UTC)
    late = soon - timedelta(minutes=11)
    post = (
        "INSERT INTO stats_posts (post_id, user_id, state, placed_at, metrics_due_at) VALUES (:id, :id, 'published', :at, :at)"
    )
    account = (
        "INSERT INTO stats_accounts (account_id, user_id, sequence, status, scopes, snapshot_due_at)"
        " VALUES (:id, :id, 1, 'active', '{}', :at)"
    )
    for statement, times in ((post, (late, late, soon)), (account, (late, soon))):
        for at in times:
            await run(database, statement, id=uuid4(), at=at)
    async with database.read_fast() as driver:
        assert await lateness(driver) == (1, 2, 0)
    loop = StatisticsGauges(database)
    assert (await loop._measure()).next_in == 15.0


@pytest.mark.parametrize("ages", [[6, 1], [1, 1], [0], [-1], list(range(1, 30)), "x"])
def test_ages_that_do_not_grow_are_refused(ages: Any) -> None:
    with pytest.raises(ValidationError, match="post_metrics_ages_hours"):
        Settings(post_metrics_ages_hours=ages)  # type: ignore[call-arg] # the others are missing, too
