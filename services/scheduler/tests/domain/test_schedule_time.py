"""Times with offsets, local times that do not exist or exist twice, limits."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.finding import Finding
from scheduler.domain.schedule_time import check_publish_before, resolve_scheduled_time

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
