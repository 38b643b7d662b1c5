"""Months of the trail."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from analytics.domain.month import Month


def test_months_count_over_years_both_ways() -> None:
    assert Month(2026, 11).plus(2) == Month(2027, 1)
    assert Month(2026, 1).plus(-1) == Month(2025, 12)
    assert Month(2025, 12) < Month(2026, 1)


def test_a_month_is_utc() -> None:
    assert Month.of(datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == Month(2026, 11)
    assert Month(2026, 11).start == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_partition_is_named_after_its_month() -> None:
    assert Month(2026, 3).partition == "records_2026_03"
    assert Month.of_partition("records_2026_03") == Month(2026, 3)
    assert Month.of_partition("post_metrics_2026_03", "post_metrics_") == Month(2026, 3)


@pytest.mark.parametrize("name", ["records_default", "records_2026_x", "records_2026_13", "records_2026_01_old", "2026_01"])
def test_another_table_is_no_month(name: str) -> None:
    assert Month.of_partition(name) is None
