"""The daily cap: when there is room for a post, and what its owner is told when that is later than its time."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.daily_cap import Day, Planned, check_day

NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)
WINDOW = timedelta(hours=24, minutes=1)


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def planned(*hours: float, patience: float = 24) -> list[Planned]:
    return [Planned(at(hour), at(hour + patience)) for hour in hours]


def day(*moments: float, allowed: int | None = 3, not_before: float | None = None) -> Day:
    return Day(allowed, WINDOW, tuple(at(hour) for hour in moments), None if not_before is None else at(not_before))


@pytest.mark.parametrize(
    ("found", "before", "minutes"),
    [
        # There is room.
        (day(), planned(), None),
        (day(-1, -2), planned(), None),
        (day(-25, -24.5, -24.1), planned(), None),
        (day(), planned(-2, -1), None),
        (day(-30, -1), planned(-0.5), None),
        (day(allowed=None), planned(-3, -2, -1, 0), None),
        (day(not_before=-1), planned(), None),
        (day(not_before=0.02), planned(), None),
        # The same times every day, a little less than a day apart for the cap: not worth a word.
        (day(-24, -24, -24), planned(), None),
        # There is none.
        (day(-3, -2, -1), planned(), 21 * 60 + 1),
        (day(), planned(-3, -2, -1), 21 * 60 + 1),
        (day(-3), planned(-2, -1), 21 * 60 + 1),
        (day(-3, -2, -1), planned(0), 22 * 60 + 1),
        (day(not_before=5), planned(), 5 * 60),
        (day(allowed=None, not_before=5), planned(-1, 0), 5 * 60),
        (day(-3, -2, -1, not_before=5), planned(), 21 * 60 + 1),
        (day(-3, -2, -1, not_before=23), planned(), 23 * 60),
        # What is in line goes first, though there is room.
        (day(-2, 4), planned(), 4 * 60),
        # What would come too late itself takes no room.
        (day(-3, -2, -1), planned(-0.5, patience=2), 21 * 60 + 1),
        (day(-3, -2, -1), [Planned(at(-0.5), None)], 22 * 60 + 1),
    ],
)
def test_a_post_goes_out_when_there_is_room(found: Day, before: list[Planned], minutes: float | None) -> None:
    finding = check_day(found, before, Planned(NOON, at(100)), "direct")
    if minutes is None:
        assert finding is None
        return
    assert finding is not None
    assert (finding.field, finding.code) == ("scheduled_time", "tiktok_daily_posts")
    (when,) = finding.alternatives
    assert datetime.fromisoformat(when) == NOON + timedelta(minutes=minutes)
    again = Planned(datetime.fromisoformat(when), at(100))
    assert check_day(found, before, again, "direct") is None, "that time is told as one that has room"


def test_the_sentence_says_how_many_when_and_what_to_do() -> None:
    waits = check_day(day(-3, -2, -1), [], Planned(NOON, at(22)), "direct")
    lost = check_day(day(-3, -2, -1), [], Planned(NOON, at(21)), "inbox")
    barred = check_day(day(-1, not_before=5.001), [], Planned(NOON, None), "direct")
    assert waits is not None
    assert lost is not None
    assert barred is not None
    assert waits.message == (
        "TikTok accepts 3 posts of an account from apps within 24 hours, and as many come before this one: "
        "it goes out at 2026-11-10 09:01 UTC at the earliest."
    )
    assert waits.hint is not None
    assert waits.hint.startswith("Nothing to do")
    assert lost.code == "tiktok_pending_drafts"
    assert "3 drafts" in lost.message
    assert "publish_before is earlier" in lost.message
    assert lost.hint is not None
    assert "deadline_passed" in lost.hint
    assert barred.message.startswith(
        "TikTok accepts no more posts of this account for a while: it goes out at 2026-11-09 17:01"
    )


def test_a_short_wait_is_told_when_it_would_be_the_end_of_the_post() -> None:
    late = check_day(day(-24, -24, -24), [], Planned(NOON, NOON + timedelta(seconds=30)), "direct")
    assert late is not None
    assert "publish_before is earlier" in late.message
    on_time = check_day(day(), [], Planned(NOON + timedelta(seconds=5), NOON + timedelta(seconds=30)), "direct")
    assert on_time is None
