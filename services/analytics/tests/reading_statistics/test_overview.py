"""How publishing went, over HTTP: counted by PostgreSQL, checked against a plain model."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.domain.overview import STATES, most_frequent, offsets
from analytics.usecases import read_overview

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPAN = {"from_": "2026-11-01T00:00:00Z", "to": "2026-11-21T00:00:00Z"}
ZONES = ("UTC", "Asia/Kolkata", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe")


def only(**counts: int) -> dict[str, int]:
    return dict.fromkeys(STATES, 0) | counts


def shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.integration
async def test_without_posts_nothing_is_made_up(statistics: Any) -> None:
    await statistics.posts([{}], user=uuid4())
    assert await statistics.get("/overview", **SPAN) == {
        "from": SPAN["from_"],
        "to": SPAN["to"],
        "timezone": "UTC",
        "posts": only(),
        "success_rate": None,
        "lateness_ms": {"p50": None, "p95": None, "p99": None, "max": None},
        "failures": [],
        "best_hours": [],
    }


@pytest.mark.integration
async def test_posts_are_counted_by_their_state_within_the_period(statistics: Any) -> None:
    begin, end = (datetime.fromisoformat(SPAN[name]) for name in ("from_", "to"))
    await statistics.posts(
        [
            {"placed_at": begin},
            {"placed_at": begin - timedelta(microseconds=1)},
            {"placed_at": end - timedelta(microseconds=1)},
            {"placed_at": end},
            {"state": "failed", "error_code": "deadline_passed"},
            {"state": "failed", "error_code": "tiktok_spam_risk"},
            {"state": "failed", "error_code": "tiktok_spam_risk"},
            {"state": "failed"},
            {"state": "unconfirmed", "error_code": "publish_outcome_unknown"},
            {"state": "cancelled"},
            {"state": "sent_to_inbox"},
            {"state": "retry_scheduled", "error_code": "tiktok_spam_risk"},
            {"state": "something_new"},
        ]
    )
    overview = await statistics.get("/overview", **SPAN)
    assert overview["posts"] == only(
        published=2, failed=4, unconfirmed=1, cancelled=1, sent_to_inbox=1, retry_scheduled=1, something_new=1
    )
    assert overview["success_rate"] == pytest.approx(2 / 7)
    assert overview["failures"] == [
        {"code": "tiktok_spam_risk", "count": 2},
        {"code": "deadline_passed", "count": 1},
        {"code": "unknown", "count": 1},
    ]


@pytest.mark.integration
async def test_the_publishers_word_counts_while_the_scheduler_says_due_of_the_same_attempt(statistics: Any) -> None:
    of_publisher = {"progress": "processing", "progress_attempt": 2}
    await statistics.posts(
        [
            {"state": "due", "attempt": 2, **of_publisher},
            {"state": "due", "attempt": 3, **of_publisher},
            {"state": "due", "attempt": 0},
            {"state": "published", "attempt": 2, **of_publisher},
        ]
    )
    assert (await statistics.get("/overview", **SPAN))["posts"] == only(processing=1, due=2, published=1)


@pytest.mark.integration
async def test_lateness_is_told_in_percentiles(statistics: Any) -> None:
    await statistics.posts([{"lateness_ms": float(n)} for n in range(101)] + [{"lateness_ms": None}] * 3)
    lateness = (await statistics.get("/overview", **SPAN))["lateness_ms"]
    assert lateness == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


@pytest.mark.integration
async def test_left_out_it_is_the_last_30_days(statistics: Any) -> None:
    now = datetime.now(UTC)
    await statistics.posts([{"placed_at": now - 29 * DAY}, {"placed_at": now - 31 * DAY}, {"placed_at": now + HOUR}])
    overview = await statistics.get("/overview")
    assert overview["posts"] == only(published=1)
    since, until = (datetime.fromisoformat(overview[name]) for name in ("from", "to"))
    assert until - since == 30 * DAY


@pytest.mark.integration
async def test_best_hours_are_those_of_the_clock_on_the_wall(statistics: Any) -> None:
    """The same hour of New York on both sides of the change of clocks; what has no views of a day counts for nothing."""
    published = datetime(2026, 10, 28, 22, 15, tzinfo=UTC)
    await statistics.posts(
        [
            {"published_at": published, "day_views": 10},
            {"published_at": published + 7 * DAY + HOUR, "day_views": 30},
            {"published_at": published + HOUR, "day_views": 25},
            {"published_at": published + 2 * HOUR, "day_views": None},
            {"published_at": published - 200 * DAY, "day_views": 9_000},
            {"published_at": NOW + HOUR, "day_views": 9_000},
        ]
    )
    await statistics.posts([{"published_at": published, "day_views": 9_000}], user=uuid4())
    overview = await statistics.get("/overview", to=shown(NOW), timezone="America/New_York")
    assert overview["best_hours"] == [
        {"weekday": 3, "hour": 19, "median_views": 25.0, "sample_size": 1},
        {"weekday": 3, "hour": 18, "median_views": 20.0, "sample_size": 2},
    ]


@pytest.mark.integration
async def test_the_newest_posts_are_the_sample(statistics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_overview, "SAMPLE", 2)
    await statistics.posts([{"published_at": NOW - n * DAY, "day_views": n} for n in range(1, 6)])
    hours = (await statistics.get("/overview", to=shown(NOW)))["best_hours"]
    assert sorted(hour["median_views"] for hour in hours) == [1.0, 2.0]


POSTS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(STATES),
        "attempt": st.integers(0, 2),
        "progress": st.sampled_from([None, "publishing", "deferred", "processing"]),
        "progress_attempt": st.integers(0, 2),
        "placed_at": st.datetimes(
            datetime.fromisoformat("2026-03-01"), datetime.fromisoformat("2026-05-01"), timezones=st.just(UTC)
        ),
        "published_at": st.none()
        | st.datetimes(datetime.fromisoformat("2025-10-01"), datetime.fromisoformat("2026-05-01"), timezones=st.just(UTC)),
        "error_code": st.sampled_from([None, "a", "b", "tiktok_c"]),
        "lateness_ms": st.none() | st.floats(-5, 100_000, allow_nan=False),
        "day_views": st.none() | st.integers(0, 10**9),
    }
)


@pytest.mark.integration
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(POSTS, max_size=40),
    ends=st.lists(
        st.datetimes(datetime.fromisoformat("2026-03-01"), datetime.fromisoformat("2026-05-01"), timezones=st.just(UTC)),
        min_size=2,
        max_size=2,
        unique=True,
    ),
    zone=st.sampled_from(ZONES),
)
async def test_numbers_are_what_a_plain_model_says(
    statistics: Any, rows: list[dict[str, Any]], ends: list[datetime], zone: str
) -> None:
    user = uuid4()
    await statistics.posts(rows, user=user)
    since, until = sorted(ends)
    overview = await statistics.get("/overview", user=user, from_=shown(since), to=shown(until), timezone=zone)
    placed = [row for row in rows if since <= row["placed_at"] < until]
    posts = Counter(state_of(row) for row in placed)
    assert overview["posts"] == only(**posts)
    ended = posts["published"] + posts["failed"] + posts["unconfirmed"]
    assert overview["success_rate"] == (pytest.approx(posts["published"] / ended) if ended else None)
    codes = Counter(row["error_code"] or "unknown" for row in placed if row["state"] == "failed")
    assert {one["code"]: one["count"] for one in overview["failures"]} == codes
    assert [one["count"] for one in overview["failures"]] == sorted(codes.values(), reverse=True)
    late = sorted(row["lateness_ms"] for row in placed if row["lateness_ms"] is not None)
    expected = {"p50": percentile(late, 0.5), "p95": percentile(late, 0.95), "p99": percentile(late, 0.99)}
    assert overview["lateness_ms"] == pytest.approx(expected | {"max": late[-1] if late else None})
    hours = best_hours(rows, until, ZoneInfo(zone))
    assert {
        (one["weekday"], one["hour"]): (one["median_views"], one["sample_size"]) for one in overview["best_hours"]
    } == hours
    medians = [one["median_views"] for one in overview["best_hours"]]
    assert medians == sorted(medians, reverse=True)


def state_of(row: dict[str, Any]) -> str:
    moving = row["state"] == "due" and row["progress"] and row["progress_attempt"] == row["attempt"]
    return str(row["progress"] if moving else row["state"])


def percentile(ordered: list[float], part: float) -> float | None:
    if not ordered:
        return None
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def best_hours(rows: list[dict[str, Any]], until: datetime, zone: ZoneInfo) -> dict[tuple[int, int], tuple[float, int]]:
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows:
        published, views = row["published_at"], row["day_views"]
        if published is not None and views is not None and until - 180 * DAY <= published < until:
            local = published.astimezone(zone)
            found[local.isoweekday(), local.hour].append(views)
    return {hour: (median(views), len(views)) for hour, views in found.items()}


@given(
    zone=st.sampled_from([*ZONES, "Africa/Cairo", "Asia/Pyongyang"]).map(ZoneInfo),
    since=st.datetimes(datetime.fromisoformat("2005-01-01"), datetime.fromisoformat("2036-01-01"), timezones=st.just(UTC)),
    after=st.timedeltas(timedelta(0), 180 * DAY),
)
def test_offsets_are_those_of_the_zone(zone: ZoneInfo, since: datetime, after: timedelta) -> None:
    found = offsets(zone, since, since + 180 * DAY)
    moment = since + after
    offset = [offset for begin, offset in found if begin <= moment][-1]
    assert offset == moment.astimezone(zone).utcoffset()


def test_offsets_change_to_the_second() -> None:
    spring = datetime(2026, 3, 8, 7, tzinfo=UTC)
    found = offsets(ZoneInfo("America/New_York"), spring - 3.3 * DAY, spring + 30 * DAY)
    assert found == [(spring - 3.3 * DAY, -5 * HOUR), (spring, -4 * HOUR)]


def test_failures_are_the_fifty_most_frequent() -> None:
    found = most_frequent({f"c{n:02}": n + 1 for n in range(60)} | {"b": 60})
    assert (len(found), found[:2], found[-1]) == (50, [("b", 60), ("c59", 60)], ("c11", 12))


@pytest.mark.integration
async def test_a_wrong_parameter_is_named(statistics: Any) -> None:
    for params in (
        {"from": "yesterday"},
        {"to": "2026-11-21T07:00:00Z\x00"},
        {"from": "2026-11-21T07:00:00Z", "to": "2026-11-21T07:00:00Z"},
        {"from": "2025-11-19T07:00:00Z", "to": "2026-11-21T07:00:00Z"},
        {"timezone": "Nowhere"},
        {"timezone": "UTC\x00"},
    ):
        answer = await statistics.ask("/overview", **params)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), (params, answer.text)
        assert answer.json()["errors"][0]["field"] in {*params, "query"}, (params, answer.text)
    year = {"from_": "2025-11-20T07:00:00Z", "to": "2026-11-21T07:00:00Z"}
    assert (await statistics.get("/overview", **year))["posts"] == only()


@pytest.mark.integration
async def test_only_a_user_with_the_right_may_look(statistics: Any) -> None:
    keys = statistics.analytics.user_keys
    for path in ("overview", f"posts/{uuid4()}"):
        for headers, status in (({}, 401), (keys.authorization(uuid4(), api_key_id="k", scopes=["posts:read"]), 403)):
            assert (await statistics.analytics.http.get(f"/internal/analytics/{path}", headers=headers)).status_code == status
