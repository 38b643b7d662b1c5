"""Months as ranges of ids."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from analytics.domain.month import Month
from common.ids import uuid7


def uuid7_at(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0b10 << 62))


def test_an_id_lies_in_the_month_of_its_time() -> None:
    month = Month(2026, 12)
    first, last = month.start, month.plus(1).start - timedelta(milliseconds=1)
    assert month.first_id <= uuid7_at(first) < uuid7_at(last) < month.plus(1).first_id
    assert uuid7_at(first - timedelta(milliseconds=1)) < month.first_id


def test_a_new_id_lies_in_this_month() -> None:
    before = Month.of(datetime.now(UTC))
    made = uuid7()
    after = Month.of(datetime.now(UTC))
    assert before.first_id < made < after.plus(1).first_id


def test_months_count_over_years_both_ways() -> None:
    assert Month(2026, 11).plus(2) == Month(2027, 1)
    assert Month(2026, 1).plus(-1) == Month(2025, 12)
    assert Month(2025, 12) < Month(2026, 1)


def test_a_month_is_utc() -> None:
    assert Month.of(datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == Month(2026, 11)


def test_a_partition_is_named_after_its_month() -> None:
    assert Month(2026, 3).partition == "events_2026_03"
    assert Month.of_partition("events_2026_03") == Month(2026, 3)
    assert Month.of_partition("events_default") is None
    assert Month.of_partition("events_2026_x") is None
