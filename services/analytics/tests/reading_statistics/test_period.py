"""Which stretch of time is meant."""

from datetime import UTC, datetime, timedelta

import pytest

from analytics.domain.period import NoPeriod, Period, Spans, period

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
DAY = timedelta(days=1)
SPANS = Spans(7 * DAY, 92 * DAY)


def test_left_out_it_ends_now_and_has_the_default_length() -> None:
    assert period(None, None, now=NOW, spans=SPANS) == Period(NOW - 7 * DAY, NOW)
    assert period(None, NOW - DAY, now=NOW, spans=SPANS) == Period(NOW - 8 * DAY, NOW - DAY)
    assert period(NOW - DAY, None, now=NOW, spans=SPANS) == Period(NOW - DAY, NOW)
    assert period(NOW - 92 * DAY, NOW, now=NOW, spans=SPANS) == Period(NOW - 92 * DAY, NOW)


@pytest.mark.parametrize(
    ("since", "until", "field", "code"),
    [
        (NOW, NOW, "to", "not_after_from"),
        (NOW, NOW - DAY, "to", "not_after_from"),
        (NOW + DAY, None, "from", "in_future"),
        (NOW - 93 * DAY, NOW, "to", "period_too_long"),
        (NOW - 93 * DAY, None, "from", "period_too_long"),
    ],
)
def test_what_is_no_period(since: datetime, until: datetime | None, field: str, code: str) -> None:
    with pytest.raises(NoPeriod) as caught:
        period(since, until, now=NOW, spans=SPANS)
    assert (caught.value.field, caught.value.code) == (field, code)
    assert caught.value.hint
