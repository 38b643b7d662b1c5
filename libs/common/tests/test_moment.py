"""Times as clients write them."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from common.contracts.moment import LocalMoment, Moment

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
LOCAL: TypeAdapter[datetime] = TypeAdapter(LocalMoment)


@pytest.mark.parametrize("text", ["2026-11-21T07:00:00Z", "2026-11-21 07:00:00+00:00", "2026-11-21t08:00+01:00"])
def test_rfc_3339_is_read(text: str) -> None:
    assert MOMENT.validate_python(text) == datetime(2026, 11, 21, 7, tzinfo=UTC)


def test_a_local_time_needs_no_offset() -> None:
    assert LOCAL.validate_python("2026-11-21T07:00:00") == datetime(2026, 11, 21, 7)  # noqa: DTZ001
    with pytest.raises(ValidationError):
        MOMENT.validate_python("2026-11-21T07:00:00")


@pytest.mark.parametrize(
    "value",
    [
        1900000000,
        "1900000000",
        1.5,
        True,
        None,
        "2026-11-21",
        "tomorrow",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    for adapter in (MOMENT, LOCAL):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_strict_models_read_json_too() -> None:
    assert MOMENT.validate_json('"2026-11-21T07:00:00Z"', strict=True) == datetime(2026, 11, 21, 7, tzinfo=UTC)
    with pytest.raises(ValidationError):
        MOMENT.validate_json("1900000000", strict=True)


@pytest.mark.parametrize(
    "text", ["2026-13-01T00:00:00Z", "2026-06-30T23:59:60Z", "2026-11-21T25:00:00Z", "2026-11-21T07:00:00+99:00"]
)
def test_impossible_times_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python(text)
