"""An account's figures, changes and history over HTTP, on rows of real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.domain.time_zone import Interval, starts

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 21, 7, 20, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOTHING = dict.fromkeys(("follower_count", "following_count", "likes_count", "video_count"))


def figures(followers: int) -> dict[str, int]:
    return {
        "follower_count": followers,
        "following_count": followers + 1,
        "likes_count": followers * 2,
        "video_count": followers % 50,
    }


def shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def test_an_account_that_was_never_measured_has_nulls(statistics: Any) -> None:
    account = await statistics.account()
    assert await statistics.get(f"/accounts/{account}/stats") == {
        "account_id": str(account),
        "collected_at": None,
        **NOTHING,
        "change": {"1d": None, "7d": None, "30d": None},
    }
    assert (await statistics.get(f"/accounts/{account}/history"))["points"] == []


async def test_changes_are_counted_from_the_last_measure_that_is_old_enough(statistics: Any) -> None:
    account, other = await statistics.account(), await statistics.account()
    day_before, week_before, month_before = NOW - DAY, NOW - 7 * DAY - 5 * HOUR, NOW - 32 * DAY
    measures = [
        (NOW, 1_000),
        (NOW - 23 * HOUR, 999),
        (day_before, 910),
        (week_before, 1_207),
        (NOW - 8 * DAY - HOUR, 1),
        (month_before, 50),
    ]
    await statistics.measured(account, measures)
    await statistics.measured(other, [(NOW + HOUR, 77_777)])
    assert await statistics.get(f"/accounts/{account}/stats") == {
        "account_id": str(account),
        "collected_at": shown(NOW),
        **figures(1_000),
        "change": {
            "1d": {"since": shown(day_before), **{n: v - figures(910)[n] for n, v in figures(1_000).items()}},
            "7d": {"since": shown(week_before), **{n: v - figures(1_207)[n] for n, v in figures(1_000).items()}},
            "30d": {"since": shown(month_before), **{n: v - figures(50)[n] for n, v in figures(1_000).items()}},
        },
    }


@pytest.mark.parametrize(
    ("name", "oldest"), [("1d", DAY + 6 * HOUR), ("7d", 8 * DAY), ("30d", 33 * DAY)], ids=["1d", "7d", "30d"]
)
async def test_a_change_is_null_where_nothing_was_measured_then(statistics: Any, name: str, oldest: timedelta) -> None:
    just, too_old = await statistics.account(), await statistics.account()
    await statistics.measured(just, [(NOW, 10), (NOW - oldest, 3)])
    await statistics.measured(too_old, [(NOW, 10), (NOW - oldest - timedelta(seconds=1), 3)])
    others = {"1d", "7d", "30d"} - {name}
    change = (await statistics.get(f"/accounts/{just}/stats"))["change"]
    assert change[name]["follower_count"] == 7
    assert [change[other] for other in others] == [None, None]
    assert (await statistics.get(f"/accounts/{too_old}/stats"))["change"] == {"1d": None, "7d": None, "30d": None}


async def test_an_account_that_is_not_measured_any_more_keeps_its_last_figures(statistics: Any) -> None:
    """The hours are gone, the days are still there."""
    account = await statistics.account(status="expired")
    await statistics.measured(account, [(NOW - 900 * DAY, 5), (NOW - 907 * DAY, 2)], hourly=False)
    stats = await statistics.get(f"/accounts/{account}/stats")
    assert (stats["collected_at"], stats["follower_count"]) == (shown(NOW - 900 * DAY), 5)
    assert stats["change"]["7d"]["follower_count"] == 3


async def test_gaps_are_gaps_and_the_last_measure_of_an_hour_counts(statistics: Any) -> None:
    account = await statistics.account()
    base = NOW.replace(minute=0)
    await statistics.measured(account, [(base, 1), (base + HOUR / 2, 2), (base + 3 * HOUR, 3), (base + 26 * HOUR, 4)])
    span = {"from_": shown(base), "to": shown(base + 30 * HOUR)}
    history = await statistics.get(f"/accounts/{account}/history", interval="hour", **span)
    assert history == {
        "account_id": str(account),
        "from": shown(base),
        "to": shown(base + 30 * HOUR),
        "interval": "hour",
        "timezone": "UTC",
        "points": [
            {"at": shown(base), **figures(2)},
            {"at": shown(base + 3 * HOUR), **figures(3)},
            {"at": shown(base + 26 * HOUR), **figures(4)},
        ],
    }
    days = await statistics.get(f"/accounts/{account}/history", **span)
    assert days["points"] == [
        {"at": "2026-11-21T00:00:00Z", **figures(3)},
        {"at": "2026-11-22T00:00:00Z", **figures(4)},
    ]


async def test_left_out_it_is_the_last_week_by_hour_or_90_days_by_day_up_to_now(statistics: Any) -> None:
    account, now = await statistics.account(), datetime.now(UTC)
    await statistics.measured(account, [(now - timedelta(minutes=1), 4)])
    for interval, length in (("hour", 7 * DAY), ("day", 90 * DAY)):
        history = await statistics.get(f"/accounts/{account}/history", interval=interval)
        since, until = (datetime.fromisoformat(history[name]) for name in ("from", "to"))
        assert until - since == length
        assert timedelta(0) <= until - now < timedelta(minutes=1)
        assert [point["follower_count"] for point in history["points"]] == [4]


async def test_days_of_23_and_25_hours(statistics: Any) -> None:
    account = await statistics.account()
    spring, autumn = datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC)
    for first in (spring, autumn):
        await statistics.measured(account, [(first + n * HOUR, n) for n in range(-3, 30)])

    async def days(first: datetime) -> list[tuple[str, int]]:
        span = {"from_": shown(first - 3 * HOUR), "to": shown(first + 30 * HOUR), "timezone": "America/New_York"}
        history = await statistics.get(f"/accounts/{account}/history", **span)
        return [(point["at"], point["follower_count"]) for point in history["points"]]

    assert await days(spring) == [("2026-03-07T05:00:00Z", -1), ("2026-03-08T05:00:00Z", 22), ("2026-03-09T04:00:00Z", 29)]
    assert await days(autumn) == [("2026-10-31T04:00:00Z", -1), ("2026-11-01T04:00:00Z", 24), ("2026-11-02T05:00:00Z", 29)]


async def test_hours_and_days_of_half_an_hour(statistics: Any) -> None:
    account = await statistics.account()
    begin = datetime(2026, 11, 21, 17, 30, tzinfo=UTC)
    minutes = {-40: 1, 5: 2, 50: 3, 100: 4}
    await statistics.measured(account, [(begin + timedelta(minutes=minute), n) for minute, n in minutes.items()])
    span = {"from_": "2026-11-21T00:00:00Z", "to": "2026-11-22T18:30:00Z", "timezone": "Asia/Kolkata"}
    hours = (await statistics.get(f"/accounts/{account}/history", interval="hour", **span))["points"]
    assert [(point["at"], point["follower_count"]) for point in hours] == [
        ("2026-11-21T16:30:00Z", 1),
        ("2026-11-21T17:30:00Z", 3),
        ("2026-11-21T18:30:00Z", 4),
    ]
    days = (await statistics.get(f"/accounts/{account}/history", **span))["points"]
    assert [(point["at"], point["follower_count"]) for point in days] == [
        ("2026-11-20T18:30:00Z", 3),
        ("2026-11-21T18:30:00Z", 4),
    ]


async def test_a_day_that_the_calendar_skips(statistics: Any) -> None:
    account = await statistics.account()
    await statistics.measured(
        account, [(datetime(2011, 12, 30, 9, 59, tzinfo=UTC), 1), (datetime(2011, 12, 30, 10, tzinfo=UTC), 2)]
    )
    span = {"from_": "2011-12-29T00:00:00Z", "to": "2012-01-01T00:00:00Z", "timezone": "Pacific/Apia"}
    days = (await statistics.get(f"/accounts/{account}/history", **span))["points"]
    assert [(point["at"], point["follower_count"]) for point in days] == [
        ("2011-12-29T10:00:00Z", 1),
        ("2011-12-30T10:00:00Z", 2),
    ]


async def test_days_older_than_the_hours_are_days_of_utc(statistics: Any) -> None:
    """In another zone such a day's last measure stands in the day of the zone in which it was taken."""
    account = await statistics.account()
    old = datetime(2024, 5, 1, 23, 40, tzinfo=UTC)
    await statistics.measured(account, [(old, 1), (old + DAY, 2)], hourly=False)
    span = {"from_": "2024-04-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
    utc = (await statistics.get(f"/accounts/{account}/history", **span))["points"]
    tokyo = (await statistics.get(f"/accounts/{account}/history", timezone="Asia/Tokyo", **span))["points"]
    assert [point["at"] for point in utc] == ["2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z"]
    assert [point["at"] for point in tokyo] == ["2024-05-01T15:00:00Z", "2024-05-02T15:00:00Z"]
    hours = await statistics.get(
        f"/accounts/{account}/history", interval="hour", from_="2024-05-01T00:00:00Z", to="2024-06-01T00:00:00Z"
    )
    assert hours["points"] == []


ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "Europe/Berlin")
FIRST = datetime(2026, 2, 20, tzinfo=UTC)
MOMENTS = st.datetimes(datetime.fromisoformat("2026-02-20"), datetime.fromisoformat("2026-04-20"), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    measures=st.dictionaries(MOMENTS, st.integers(0, 10**12), max_size=80),
    ends=st.lists(MOMENTS, min_size=2, max_size=2, unique=True),
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(["hour", "day"]),
)
async def test_history_is_what_a_plain_model_says(
    statistics: Any, measures: dict[datetime, int], ends: list[datetime], zone: str, interval: Interval
) -> None:
    account: UUID = await statistics.account()
    # What is stored: one an hour.
    kept = {moment.replace(minute=0, second=0): (moment, followers) for moment, followers in sorted(measures.items())}
    if kept:
        await statistics.measured(account, kept.values())
    since, until = sorted(ends)
    history = await statistics.get(
        f"/accounts/{account}/history", from_=shown(since), to=shown(until), timezone=zone, interval=interval
    )
    begins = starts(interval, ZoneInfo(zone), since, until)
    expected: dict[str, int] = {}
    for moment, followers in sorted(kept.values()):
        if since <= moment < until:
            expected[shown(max(begin for begin in begins if begin <= moment))] = followers
    assert {point["at"]: point["follower_count"] for point in history["points"]} == expected
    assert [point["at"] for point in history["points"]] == sorted(expected)


async def test_a_foreign_account_is_none(statistics: Any) -> None:
    foreign = await statistics.account(user=uuid4())
    gone = await statistics.account(status="disconnected")
    await statistics.measured(foreign, [(NOW, 1)])
    for account in (foreign, gone, uuid4()):
        for path in ("stats", "history"):
            answer = await statistics.ask(f"/accounts/{account}/{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")
    for odd in ("7", "%00", "null", f"{gone}%00"):
        assert (await statistics.ask(f"/accounts/{odd}/stats")).status_code == 404


WRONG: list[dict[str, str]] = [
    {"from": "yesterday"},
    {"from": "1790000000"},
    {"from": "2026-11-21"},
    {"from": "2026-11-21T07:00:00"},
    {"from": "2026-11-21T07:00:00Z\x00"},
    {"from": "2026-02-30T07:00:00Z"},
    {"from": "1999-12-31T23:59:59Z"},
    {"from": "0001-01-01T00:00:00+14:00"},
    {"to": "9999-12-31T23:59:59-14:00"},
    {"from": "2026-11-21T07:00:00Z", "to": "2026-11-21T07:00:00Z"},
    {"from": "2026-11-21T07:00:00Z", "to": "2026-11-21T07:00:00+01:00"},
    {"from": "8999-11-21T07:00:00Z"},
    {"interval": "week"},
    {"interval": ""},
    {"timezone": "Mars/Olympus"},
    {"timezone": "UTC\x00"},
    {"timezone": "../../etc/passwd"},
    {"timezone": ""},
    {"interval": "hour", "from": "2026-01-01T00:00:00Z", "to": "2026-04-03T00:00:01Z"},
    {"interval": "day", "from": "2016-01-01T00:00:00Z", "to": "2026-11-21T00:00:00Z"},
    {"from": "2000-01-01T00:00:00Z", "to": "8999-01-01T00:00:00Z"},
]


async def test_a_wrong_parameter_is_named(statistics: Any) -> None:
    account = await statistics.account()
    for params in WRONG:
        answer = await statistics.ask(f"/accounts/{account}/history", **params)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), (params, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"] in {*params, "query"}, (params, answer.text)
    too_long = await statistics.ask(f"/accounts/{account}/history", **WRONG[-1])
    assert too_long.json()["hint"] == "Ask for at most 3660 days at a time."


async def test_the_longest_periods_are_answered(statistics: Any) -> None:
    account = await statistics.account()
    for interval, since in (("hour", "2026-01-01T00:00:00Z"), ("day", "2016-03-26T00:00:00Z")):
        until = datetime.fromisoformat(since) + (92 if interval == "hour" else 3_660) * DAY
        history = await statistics.get(
            f"/accounts/{account}/history", interval=interval, from_=since, to=shown(until), timezone="Asia/Kolkata"
        )
        assert history["points"] == []


async def test_only_a_user_with_the_right_may_look(statistics: Any) -> None:
    account, keys = await statistics.account(), statistics.analytics.user_keys
    user = statistics.user

    async def status(headers: dict[str, str], path: str) -> int:
        answer = await statistics.analytics.http.get(f"/internal/analytics/accounts/{account}/{path}", headers=headers)
        return int(answer.status_code)

    for path in ("stats", "history"):
        assert await status({}, path) == 401
        assert await status(statistics.analytics.service_keys.authorization("scheduler", "analytics"), path) == 401
        assert await status(keys.authorization(user, api_key_id="k", scopes=["audit:read"]), path) == 403
        assert await status(keys.authorization(user, api_key_id="k", scopes=["analytics:read"]), path) == 200
