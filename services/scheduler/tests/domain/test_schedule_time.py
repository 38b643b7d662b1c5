"""Times with offsets, local times that do not exist or exist twice, limits."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.finding import Finding
from scheduler.domain.schedule_time import check_publish_before, check_timezone, resolve_scheduled_time

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def code(scheduled: datetime, zone: str | None = None, now: datetime = NOW) -> str:
    found = resolve_scheduled_time(scheduled, zone, now=now)
    assert isinstance(found, Finding), found
    return found.code


def test_an_offset_stands_for_itself_whatever_the_zone() -> None:
    scheduled = datetime.fromisoformat("2026-07-01T10:00:00+05:30")
    for zone in (None, "Europe/Berlin"):
        assert resolve_scheduled_time(scheduled, zone, now=NOW) == datetime(2026, 7, 1, 4, 30, tzinfo=UTC)


def test_a_local_time_needs_its_zone() -> None:
    local = datetime(2026, 7, 1, 10)  # noqa: DTZ001 - local on purpose
    assert resolve_scheduled_time(local, "Europe/Berlin", now=NOW) == datetime(2026, 7, 1, 8, tzinfo=UTC)
    assert code(local) == "timezone_required"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "America", "Europe/Berlin\x00"])
def test_unknown_zones(zone: str) -> None:
    assert code(datetime(2026, 7, 1, 10, tzinfo=UTC), zone) == "unknown_timezone"


GAPS = [
    ("Europe/Berlin", "2026-03-29T02:30:00", ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00")),
    ("America/New_York", "2026-03-08T02:15:00", ("2026-03-08T01:15:00-05:00", "2026-03-08T03:15:00-04:00")),
    ("Australia/Lord_Howe", "2026-10-04T02:10:00", ("2026-10-04T01:40:00+10:30", "2026-10-04T02:40:00+11:00")),
]
FOLDS = [
    ("Europe/Berlin", "2026-10-25T02:30:00", ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")),
    ("America/New_York", "2026-11-01T01:15:00", ("2026-11-01T01:15:00-04:00", "2026-11-01T01:15:00-05:00")),
    ("Australia/Lord_Howe", "2026-04-05T01:40:00", ("2026-04-05T01:40:00+11:00", "2026-04-05T01:40:00+10:30")),
]


@pytest.mark.parametrize(
    ("zone", "local", "alternatives", "expected"),
    [(*case, "nonexistent_local_time") for case in GAPS] + [(*case, "ambiguous_local_time") for case in FOLDS],
)
def test_gaps_and_folds(zone: str, local: str, alternatives: tuple[str, str], expected: str) -> None:
    found = resolve_scheduled_time(datetime.fromisoformat(local), zone, now=NOW)
    assert isinstance(found, Finding)
    assert (found.code, found.alternatives) == (expected, alternatives)
    for alternative in alternatives:
        assert isinstance(resolve_scheduled_time(datetime.fromisoformat(alternative), zone, now=NOW), datetime)


def test_a_fold_given_by_the_parser_makes_no_difference() -> None:
    assert code(datetime(2026, 10, 25, 2, 30, fold=1), "Europe/Berlin") == "ambiguous_local_time"  # noqa: DTZ001


def test_a_minute_in_the_past_is_tolerated() -> None:
    limit = NOW - timedelta(minutes=1)
    assert resolve_scheduled_time(limit, None, now=NOW) == limit
    assert code(limit - timedelta(microseconds=1)) == "scheduled_in_past"


def test_judged_at_the_time_of_the_command() -> None:
    scheduled = NOW + timedelta(minutes=5)
    assert resolve_scheduled_time(scheduled, None, now=NOW) == scheduled
    assert code(scheduled, now=NOW + timedelta(hours=1)) == "scheduled_in_past"


def test_ten_years_ahead_are_fine_and_much_more_is_not() -> None:
    assert isinstance(resolve_scheduled_time(datetime(2036, 3, 1, 12, tzinfo=UTC), None, now=NOW), datetime)
    assert code(datetime(2036, 6, 1, tzinfo=UTC)) == "scheduled_too_far"


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("9999-12-31T23:59:59-14:00", None, "scheduled_too_far"),
        ("9999-12-31T23:59:59", "America/New_York", "scheduled_too_far"),
        ("0001-01-01T00:00:00+14:00", None, "scheduled_in_past"),
        ("0001-01-01T00:00:00", "Asia/Tokyo", "scheduled_in_past"),
    ],
)
def test_the_ends_of_the_calendar_do_not_overflow(text: str, zone: str | None, expected: str) -> None:
    assert code(datetime.fromisoformat(text), zone) == expected


def test_deadlines() -> None:
    assert check_publish_before(NOW + timedelta(seconds=1), now=NOW) is None
    for wrong in (NOW, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        found = check_publish_before(wrong, now=NOW)
        assert found is not None
        assert found.code == "publish_before_out_of_range"


@pytest.mark.parametrize(
    "zone", ["localtime", "Factory", "factory", "europe/berlin", "posixrules", "right/UTC", "UTC\n", "😀"]
)
def test_zones_that_name_no_place_are_unknown(zone: str) -> None:
    found = check_timezone(zone)
    assert found is not None
    assert found.code == "unknown_timezone"


@pytest.mark.parametrize(
    "zone", [None, "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Argentina/Ushuaia"]
)
def test_zones_that_are_known(zone: str | None) -> None:
    assert check_timezone(zone) is None


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2036, 3, 1, 12, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2038, 3, 1, 12, 1, tzinfo=UTC)),
    ],
)
def test_ten_years_by_the_calendar(now: datetime, last: datetime) -> None:
    assert resolve_scheduled_time(last, None, now=now) == last
    assert code(last + timedelta(microseconds=1), now=now) == "scheduled_too_far"


def test_one_minute_around_a_gap_and_a_fold_of_half_an_hour() -> None:
    """Lord Howe Island moves its clocks by 30 minutes: at 2:00 to 2:30, and at 2:00 back to 1:30."""
    zone = "Australia/Lord_Howe"
    fine = {"2026-10-04T01:59:59": "2026-10-03T15:29:59", "2026-10-04T02:30:00": "2026-10-03T15:30:00"}
    fine |= {"2026-04-05T01:29:59": "2026-04-04T14:29:59", "2026-04-05T02:00:00": "2026-04-04T15:30:00"}
    for local, utc in fine.items():
        instant = resolve_scheduled_time(datetime.fromisoformat(local), zone, now=NOW)
        assert instant == datetime.fromisoformat(utc).replace(tzinfo=UTC), local
    for local, expected in {
        "2026-10-04T02:00:00": "nonexistent_local_time",
        "2026-10-04T02:29:59": "nonexistent_local_time",
        "2026-04-05T01:30:00": "ambiguous_local_time",
        "2026-04-05T01:59:59": "ambiguous_local_time",
    }.items():
        assert code(datetime.fromisoformat(local), zone) == expected
