"""The roll-up of posts by day says what counting them one by one says, whatever changes meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from analytics.domain.lateness_steps import milliseconds, percentile
from analytics.domain.overview import STATES, Counted
from analytics.domain.period import Period
from analytics.loops.roll_up import RollUp
from analytics.storage import overview, post_days
from analytics.storage.post_day_tables import stats_post_days, stats_post_days_changed
from analytics.storage.statistics_tables import stats_posts
from analytics.usecases import read_overview
from analytics.usecases.roll_up_post_days import roll_up_post_days
from common.testing.eventually import eventually

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NO_TIME = timedelta(0)


@given(st.lists(st.floats(-10, 1e7), min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_of_steps_is_right_within_one_percent(values: list[float], part: float) -> None:
    counts: dict[int, int] = {}
    for value in values:
        step = next(step for step in range(2_000) if value <= 0.01 * 1.02**step)
        counts[step] = counts.get(step, 0) + 1
    exact = sorted(values)[int(part * (len(values) - 1))]
    found = percentile(counts, part)
    assert found == (pytest.approx(exact, rel=0.011) if exact > 0.01 else 0.0)


def test_without_posts_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None
    assert milliseconds(0) == 0.0


async def roll_up(statistics: Any, *, rested: timedelta = NO_TIME) -> int:
    async with statistics.analytics.database.transaction() as tx:
        return await roll_up_post_days(tx, rested=rested, limit=100)


async def both(statistics: Any, since: datetime, until: datetime) -> tuple[Counted, Counted]:
    async with statistics.analytics.database.read() as connection:
        period = Period(since, until)
        return (
            await post_days.added_up(connection, statistics.user, period),
            await overview.counted(connection, statistics.user, period),
        )


def alike(added_up: Counted, counted: Counted) -> bool:
    same_counts = (added_up.states, added_up.failures) == (counted.states, counted.failures)
    return same_counts and added_up.lateness.max == counted.lateness.max


async def how_many(statistics: Any, table: Any) -> int:
    async with statistics.analytics.database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


MOMENTS = st.datetimes(datetime.fromisoformat("2026-03-01"), datetime.fromisoformat("2026-03-06"), timezones=st.just(UTC))
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(STATES),
        "placed_at": MOMENTS,
        "lateness_ms": st.none() | st.floats(-5, 1e9),
        "error_code": st.sampled_from([None, "a", "b"]),
        "progress": st.sampled_from([None, "processing"]),
        "progress_attempt": st.integers(0, 1),
    },
)


@pytest.mark.integration
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(CHANGES, min_size=1, max_size=20),
    steps=st.lists(st.tuples(st.integers(0, 19), st.none() | st.just("roll up") | CHANGES), max_size=12),
    ends=st.lists(MOMENTS, min_size=2, max_size=2, unique=True),
)
async def test_it_is_true_after_any_changes(
    statistics: Any, rows: list[dict[str, Any]], steps: list[tuple[int, Any]], ends: list[datetime]
) -> None:
    statistics.user = uuid4()
    ids = await statistics.posts([{"placed_at": FIRST + n * 5 * HOUR} | row for n, row in enumerate(rows)])
    await roll_up(statistics)
    for number, change in steps:
        post_id = ids[number % len(ids)]
        if change == "roll up":
            await roll_up(statistics)
            continue
        async with statistics.analytics.database.transaction() as tx:
            of_post = stats_posts.c.post_id == post_id
            if change is None:
                await tx.connection.execute(delete(stats_posts).where(of_post))
            elif change:
                await tx.connection.execute(update(stats_posts).where(of_post).values(change))
    since, until = sorted(ends)
    assert alike(*await both(statistics, since, until))
    while await roll_up(statistics):
        pass
    assert alike(*await both(statistics, since, until))


@pytest.mark.integration
async def test_whole_days_come_from_the_roll_up_the_rest_is_counted(statistics: Any) -> None:
    await statistics.posts([{"placed_at": FIRST + n * HOUR, "lateness_ms": 10.0 + n} for n in range(72)])
    assert await roll_up(statistics) == 3
    async with statistics.analytics.database.transaction() as tx:
        # Shows where an answer comes from; nothing but the loop writes it.
        await tx.connection.execute(update(stats_post_days).values(states={"published": 1_000}))
    added_up, _ = await both(statistics, FIRST + HOUR, FIRST + 2 * DAY + HOUR)
    assert added_up.states == {"published": 23 + 1_000 + 1}
    assert added_up.lateness.max == 10.0 + 48
    assert added_up.lateness.p50 == pytest.approx(10.0 + 24, rel=0.05)


@pytest.mark.integration
async def test_only_what_the_roll_up_tells_makes_it_untrue(statistics: Any) -> None:
    (post_id,) = await statistics.posts([{"placed_at": FIRST}])
    assert await roll_up(statistics, rested=HOUR) == 0, "it changed a moment ago"
    assert await roll_up(statistics) == 1
    for values, noted in (({"view_count": 7, "day_views": 7}, 0), ({"state": "published"}, 0), ({"lateness_ms": 1.0}, 1)):
        async with statistics.analytics.database.transaction() as tx:
            await tx.connection.execute(update(stats_posts).where(stats_posts.c.post_id == post_id).values(values))
        assert await how_many(statistics, stats_post_days_changed) == noted, values
    async with statistics.analytics.database.transaction() as tx:
        await tx.connection.execute(delete(stats_posts))
    assert await roll_up(statistics) == 1
    assert await how_many(statistics, stats_post_days) == 0


@pytest.mark.integration
async def test_a_day_that_somebody_is_changing_is_left_alone_until_it_is_committed(statistics: Any) -> None:
    await statistics.posts([{"placed_at": FIRST}])
    async with statistics.analytics.database.transaction() as tx:
        await tx.connection.execute(update(stats_posts).values(state="failed", error_code="a"))
        assert await roll_up(statistics) == 0
        added_up, _ = await both(statistics, FIRST, FIRST + DAY)
        assert added_up.states == {"published": 1}
    assert await roll_up(statistics) == 1
    added_up, counted = await both(statistics, FIRST, FIRST + DAY)
    assert added_up.failures == {"a": 1}
    assert alike(added_up, counted)


@pytest.mark.integration
async def test_the_overview_of_many_posts_is_added_up(statistics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user: UUID = statistics.user
    await statistics.posts([{"placed_at": FIRST + n * HOUR, "lateness_ms": float(n)} for n in range(100)])
    await statistics.posts([{"placed_at": FIRST}], user=uuid4())
    loop = RollUp(statistics.analytics.database, rested=NO_TIME)
    await loop.start()
    try:
        await eventually(lambda: rolled_up(statistics, 6))
    finally:
        await loop.stop()
    span = {"from_": "2026-03-01T00:00:00Z", "to": "2026-03-06T00:00:00Z"}
    exact = await statistics.get("/overview", user=user, **span)
    monkeypatch.setattr(read_overview, "COUNTED_ONE_BY_ONE", 99)
    added_up = await statistics.get("/overview", user=user, **span)
    assert added_up["lateness_ms"].pop("max") == exact["lateness_ms"].pop("max") == 99.0
    assert added_up.pop("lateness_ms") == pytest.approx(exact.pop("lateness_ms"), rel=0.05)
    assert added_up == exact
    assert exact["posts"]["published"] == 100


async def rolled_up(statistics: Any, days: int) -> bool:
    return await how_many(statistics, stats_post_days) == days
