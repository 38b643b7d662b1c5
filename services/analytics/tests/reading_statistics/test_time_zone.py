"""Where hours and days of a zone's clock begin, against a model that looks at every quarter of an hour."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.domain.time_zone import EARLIEST, Interval, starts, zone_of

QUARTER = timedelta(minutes=15)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Apia", "Pacific/Chatham"),
    *("Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Pyongyang", "America/Havana", "Asia/Beirut"),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def begins(interval: Interval, zone: str, since: str, until: str) -> list[str]:
    found = starts(interval, ZoneInfo(zone), at(since), at(until))
    assert all(moment.tzinfo is UTC for moment in found)
    return [f"{moment:%m-%d %H:%M}" for moment in found]


def test_days_last_23_24_or_25_hours() -> None:
    spring = begins("day", "America/New_York", "2026-03-07T12:00Z", "2026-03-10T04:00Z")
    assert spring == ["03-07 05:00", "03-08 05:00", "03-09 04:00"]
    autumn = begins("day", "America/New_York", "2026-10-31T12:00Z", "2026-11-02T05:00:01Z")
    assert autumn == ["10-31 04:00", "11-01 04:00", "11-02 05:00"]


def test_a_day_whose_midnight_is_skipped_begins_when_clocks_are_put_forward() -> None:
    assert begins("day", "Africa/Cairo", "2026-04-23T12:00Z", "2026-04-25T00:00Z") == [
        "04-22 22:00",
        "04-23 22:00",
        "04-24 21:00",
    ]


def test_a_day_that_the_calendar_skips_is_none() -> None:
    """Samoa went from 29 to 31 December 2011."""
    assert begins("day", "Pacific/Apia", "2011-12-29T12:00Z", "2012-01-01T00:00Z") == [
        "12-29 10:00",
        "12-30 10:00",
        "12-31 10:00",
    ]


def test_hours_begin_at_the_full_hour_of_the_zone() -> None:
    assert begins("hour", "Asia/Kolkata", "2026-11-01T12:30Z", "2026-11-01T14:00Z") == ["11-01 12:30", "11-01 13:30"]
    assert begins("hour", "Asia/Kathmandu", "2026-11-01T12:30Z", "2026-11-01T13:30Z") == ["11-01 12:15", "11-01 13:15"]
    assert begins("hour", "UTC", "2026-11-01T12:30Z", "2026-11-01T13:00Z") == ["11-01 12:00"]


def test_hours_where_clocks_change_by_half_an_hour() -> None:
    there = begins("hour", "Australia/Lord_Howe", "2026-10-03T14:30Z", "2026-10-03T17:00Z")
    assert there == ["10-03 14:30", "10-03 16:00"]
    back = begins("hour", "Australia/Lord_Howe", "2026-04-04T14:00Z", "2026-04-04T16:30Z")
    assert back == ["04-04 14:00", "04-04 15:30"]
    assert begins("hour", "Asia/Pyongyang", "2018-05-04T14:30Z", "2018-05-04T16:30Z") == [
        "05-04 14:30",
        "05-04 15:00",
        "05-04 16:00",
    ]


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    interval=st.sampled_from(["hour", "day"]),
    since=st.datetimes(datetime.fromisoformat("2005-01-01"), datetime.fromisoformat("2036-01-01"), timezones=st.just(UTC)),
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=9)),
)
def test_starts_are_where_the_clock_shows_another_hour_or_date(
    zone: ZoneInfo, interval: Interval, since: datetime, length: timedelta
) -> None:
    until = since + length
    found = starts(interval, zone, since, until)
    assert found == model(interval, zone, since, until)


def model(interval: Interval, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    moment = since.replace(minute=0, second=0, microsecond=0) - timedelta(days=3)
    found: list[datetime] = []
    before = moment.astimezone(zone)
    while moment < until:
        local = moment.astimezone(zone)
        if local.minute == 0 if interval == "hour" else local.date() != before.date():
            found = [moment] if moment <= since else [*found, moment]
        before, moment = local, moment + QUARTER
    return found


@pytest.mark.parametrize(
    "name", ["", "localtime", "Factory", "Mars/Olympus", "../etc/passwd", "utc\x00", "UTC\x00", "x" * 5_000]
)
def test_what_is_no_zone(name: str) -> None:
    assert zone_of(name) is None


def test_every_zone_differs_from_utc_by_quarters_of_an_hour() -> None:
    assert EARLIEST.year == 2000
    for name in ZONES:
        zone = zone_of(name)
        assert zone is not None
        for days in range(0, 14_000, 50):
            offset = (EARLIEST + timedelta(days=days)).astimezone(zone).utcoffset()
            assert offset is not None
            assert offset % QUARTER == timedelta(0)
