"""Forecasts: when the turn of whoever has to wait comes."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.pacing import SHORTEST_WAIT_SECONDS, Limit, Standing, moments, only_awaits_turn, seconds_to_wait
from publisher.domain.tiktok_limits import INIT, Caps, wait_reason

NOW = datetime(2026, 11, 9, 12, tzinfo=UTC)
SIX = Limit("init", 6, 61.0, 0.5)


def standing(*ago: float, ahead: int = 0, not_before: float | None = None) -> Standing:
    calls = [NOW - timedelta(seconds=seconds) for seconds in ago]
    return Standing(False, calls, ahead, None if not_before is None else NOW + timedelta(seconds=not_before), NOW)


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (standing(), SHORTEST_WAIT_SECONDS),
        (standing(0.2), 0.3),
        (standing(ahead=3), 1.5),
        (standing(100, ahead=1), 0.5),
        (standing(60, 50, 40, 30, 20, 10), 1.0),
        (standing(60, 50, 40, 30, 20, 10, ahead=1), 11.0),
        (standing(60, 50, 40, 30, 20, 10, ahead=6), 62.0),
        (standing(ahead=6), 61.0),
        (standing(ahead=13), 122.5),
        (standing(10, ahead=5), 51.0),
        (standing(not_before=30), 30.0),
        (standing(not_before=-30), SHORTEST_WAIT_SECONDS),
        (standing(ahead=2, not_before=30), 31.0),
        (standing(59.9, 59.8, 59.7, 59.6, 59.5, 59.4, ahead=1), 1.6),
    ],
)
def test_a_turn_comes_when_those_ahead_have_had_theirs(found: Standing, seconds: float) -> None:
    assert seconds_to_wait(SIX, found) == pytest.approx(seconds)


def test_forecasts_of_a_line_are_apart_and_never_more_than_the_limit_in_any_window() -> None:
    turns = [seconds_to_wait(SIX, standing(50, 3, ahead=ahead)) for ahead in range(1, 40)]
    assert all(later - earlier >= 0.5 - 1e-6 for earlier, later in itertools.pairwise(turns))
    moments = [-50.0, -3.0, *turns]
    assert all(moments[at + 6] - moments[at] >= 61.0 - 1e-6 for at in range(len(moments) - 6))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (standing(ahead=5), True),
        (standing(ahead=6), False),
        (standing(3, 2, 1, ahead=2), True),
        (standing(3, 2, 1, ahead=3), False),
        (standing(not_before=1), False),
        (standing(not_before=-1), True),
    ],
)
def test_waiting_for_a_turn_is_told_apart_from_waiting_for_room(found: Standing, expected: bool) -> None:
    assert only_awaits_turn(SIX, found) is expected


def test_calls_that_have_left_the_window_do_not_fill_it() -> None:
    assert standing(30, 20, 10, 9, 8, 7).is_full(SIX)
    assert not standing(62, 20, 10, 9, 8, 7).is_full(SIX)


def test_every_limit_says_why() -> None:
    caps = Caps.of(daily_posts=15, pending_drafts=5, active_users=0)
    limits = [INIT, caps.of_mode("direct"), caps.of_mode("inbox"), caps.active_users]
    reasons = [wait_reason(limit) for limit in limits]
    assert [reason.code for reason in reasons] == [
        "tiktok_quota", "tiktok_daily_posts", "tiktok_pending_drafts", "tiktok_active_users",
    ]  # fmt: skip
    assert all(reason.message.endswith(".") and reason.hint is not None for reason in reasons)
    assert [limit.allowed for limit in limits[1:3]] == [15, 5]
    assert not caps.counts_active_users
    assert Caps.of(daily_posts=0, pending_drafts=0, active_users=9).counts_active_users


@pytest.mark.parametrize(
    ("found", "deadlines", "expected"),
    [
        (standing(100, 60), [], [-60.0]),
        (standing(60), [9, 9], [-60.0, 0.0, 1.0]),
        (standing(60, 50), [0.5, 100, 10, 12], [-60.0, -50.0, 1.0, 11.0]),
        (standing(not_before=30), [20, 40], [30.0]),
    ],
)
def test_a_line_is_foreseen_without_those_whose_deadline_comes_first(
    found: Standing, deadlines: list[float], expected: list[float]
) -> None:
    limit = Limit("day", 2, 61.0)
    until = [NOW + timedelta(seconds=seconds) for seconds in deadlines]
    assert [(moment - NOW).total_seconds() for moment in moments(limit, found, until)] == pytest.approx(expected)
