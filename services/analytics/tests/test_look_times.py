"""Accounts have their turn in each hour, videos at some ages and then daily; what is missed is not made up for."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.domain.look_times import (
    RETRY_MAX,
    SPREAD_SECONDS,
    VideoLooks,
    next_snapshot,
    snapshot_after_failure,
    turn_in_hour,
)
from analytics.domain.measures import AccountNumbers, PostNumbers, hour_of
from analytics.domain.video_verdict import VideoVerdict, WatchedVideo, judge_look, put_off_look, skip_look
from common.ids import uuid7

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 21, 7, 12, tzinfo=UTC)
ACCOUNT = UUID(int=600)
LOOKS = VideoLooks((HOUR, 6 * HOUR, 24 * HOUR), 180 * DAY)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds it


@given(st.uuids(), moments)
def test_the_turn_is_in_the_first_fifty_minutes_of_the_next_hour(account_id: UUID, now: datetime) -> None:
    at = next_snapshot(account_id, now)
    assert hour_of(at) == hour_of(now) + HOUR
    assert at - hour_of(at) == turn_in_hour(account_id) < timedelta(minutes=50)


def test_turns_are_spread() -> None:
    minutes = [turn_in_hour(uuid7()) // timedelta(minutes=1) for _ in range(5_000)]
    per_minute = [minutes.count(minute) for minute in range(SPREAD_SECONDS // 60)]
    assert min(per_minute) > 50
    assert max(per_minute) < 170


@given(st.uuids(), moments, st.integers(1, 100), st.floats(0, 1), st.integers(0, 86_400))
def test_a_failure_waits_in_the_hour_or_for_the_turn_in_the_next(
    account_id: UUID, now: datetime, failures: int, jitter: float, asked: int
) -> None:
    at_least = timedelta(seconds=asked)
    at = snapshot_after_failure(account_id, now, failures=failures, at_least=at_least, jitter=jitter)
    assert at >= now + at_least
    if hour_of(at) == hour_of(now):
        assert at <= now + max(RETRY_MAX, at_least)
    else:
        assert at == max(next_snapshot(account_id, now), now + at_least)


def test_waits_grow() -> None:
    waits = [snapshot_after_failure(ACCOUNT, NOW, failures=number) - NOW for number in range(1, 8)]
    assert [wait / timedelta(seconds=1) for wait in waits] == [30, 60, 120, 240, 480, 600, 600]
    assert snapshot_after_failure(ACCOUNT, NOW, failures=1, jitter=0) - NOW == timedelta(seconds=15)


def test_a_video_is_looked_at_at_its_ages_and_then_once_a_day() -> None:
    published = NOW
    looks, at = [], published
    for _ in range(6):
        found = LOOKS.next_look(published, ACCOUNT, at)
        assert found is not None
        looks.append(found)
        at = found
    assert [look - published for look in looks[:3]] == [HOUR, 6 * HOUR, 24 * HOUR]
    times = [datetime(2026, 11, day, 0, 10, tzinfo=UTC) for day in (23, 24, 25)]
    assert looks[3:] == times, "at the account's time of day, half a day after the last look at least"


def test_missed_ages_are_skipped_and_it_ends() -> None:
    assert LOOKS.next_look(NOW, ACCOUNT, NOW + 7 * HOUR) == NOW + DAY
    assert LOOKS.next_look(NOW, ACCOUNT, NOW + 179 * DAY) == datetime(2027, 5, 20, 0, 10, tzinfo=UTC)
    assert LOOKS.next_look(NOW, ACCOUNT, NOW + 180 * DAY) is None
    assert VideoLooks((), 2 * DAY).next_look(NOW, ACCOUNT, NOW) == datetime(2026, 11, 22, 0, 10, tzinfo=UTC)


@given(st.uuids(), moments, st.floats(0, 200))
def test_a_look_is_never_in_the_past_and_never_two_days_off(account_id: UUID, published: datetime, age: float) -> None:
    now = published + timedelta(days=age)
    at = LOOKS.next_look(published, account_id, now)
    if at is None:
        assert now > published + 178 * DAY
    else:
        assert now < at <= now + 2 * DAY


@given(st.uuids(), moments, st.floats(0, 200), st.integers(0, 86_400), st.floats(0, 1))
def test_a_failed_look_is_tried_again_soon_and_at_the_next_one_at_the_latest(
    account_id: UUID, published: datetime, age: float, asked: int, jitter: float
) -> None:
    now, at_least = published + timedelta(days=age), timedelta(seconds=asked)
    planned = LOOKS.next_look(published, account_id, now)
    again = LOOKS.after_failure(published, account_id, now, at_least=at_least, jitter=jitter)
    assert (again is None) is (planned is None)
    if again is not None and planned is not None:
        assert now + at_least <= again <= max(planned, now + at_least)
        assert again <= now + max(RETRY_MAX, at_least)


def test_what_follows_from_tiktoks_answer() -> None:
    numbers = PostNumbers(4, 3, 2, 1)
    video = WatchedVideo(uuid7(), ACCOUNT, "73", NOW, 6)
    now = NOW + 2 * HOUR
    assert judge_look(video, {"73": numbers, "74": numbers}, LOOKS, now) == VideoVerdict(
        video.post_id, numbers, NOW + 6 * HOUR, 0
    )
    assert judge_look(video, {"74": numbers}, LOOKS, now) == VideoVerdict(video.post_id, None, None, 7)
    assert skip_look(video, LOOKS, now) == VideoVerdict(video.post_id, None, NOW + 6 * HOUR, 6)
    soon = put_off_look(video, LOOKS, now, at_least=timedelta(0), jitter=0)
    assert soon == VideoVerdict(video.post_id, None, now + RETRY_MAX / 2, 6)


@pytest.mark.parametrize("odd", [None, -1, "4", 2**63, 1.5, True])
def test_numbers_are_whole_or_none(odd: object) -> None:
    assert AccountNumbers.of([1, 2, 3, 4]) == (1, 2, 3, 4)
    assert PostNumbers.of([0, 0, 0, 0]) == (0, 0, 0, 0)
    assert AccountNumbers.of([1, odd, 3, 4]) is None
    assert PostNumbers.of([odd, 2, 3, 4]) is None
