"""Retry decisions at their limits."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.retry import Failure, GiveUp, RetryAt, RetryPolicy, decide_retry

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FAR = NOW + timedelta(days=1)
POLICY = RetryPolicy()


def decide(
    failure: Failure, tries: int = 1, before: datetime = FAR, jitter: float = 0.0, policy: RetryPolicy = POLICY
) -> RetryAt | GiveUp:
    return decide_retry(policy, failure, tries=tries, now=NOW, publish_before=before, jitter=jitter)


@pytest.mark.parametrize(("tries", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60)])
def test_waits_grow(tries: int, minutes: int) -> None:
    assert decide(Failure(retryable=True), tries) == RetryAt(NOW + timedelta(minutes=minutes))


def test_the_last_wait_repeats_when_more_attempts_are_allowed() -> None:
    policy = RetryPolicy(max_attempts=9)
    assert decide(Failure(retryable=True), 7, policy=policy) == RetryAt(NOW + timedelta(minutes=60))


def test_the_fifth_failure_is_the_last() -> None:
    assert decide(Failure(retryable=True), 5) == GiveUp(exhausted=True)


def test_final_failures_are_never_retried() -> None:
    assert decide(Failure(retryable=False, retry_after=5)) == GiveUp()


def test_jitter_adds_its_share() -> None:
    assert decide(Failure(retryable=True), jitter=0.5) == RetryAt(NOW + timedelta(seconds=63))


def test_retry_after_is_a_lower_bound() -> None:
    assert decide(Failure(retryable=True, retry_after=600)) == RetryAt(NOW + timedelta(minutes=10))
    assert decide(Failure(retryable=True, retry_after=2)) == RetryAt(NOW + timedelta(minutes=1))


@pytest.mark.parametrize("asked", [1e9, 1e15, 1e300, float("inf")])
def test_a_wait_beyond_the_calendar_is_beyond_the_deadline(asked: float) -> None:
    """An event that cannot be handled would leave the post publishing for ever."""
    assert decide(Failure(retryable=True, retry_after=asked), jitter=0.9) == GiveUp(deadline_passed=True)


def test_nothing_is_planned_after_the_deadline() -> None:
    exactly = NOW + timedelta(minutes=1)
    assert decide(Failure(retryable=True), before=exactly + timedelta(microseconds=1)) == RetryAt(exactly)
    assert decide(Failure(retryable=True), before=exactly) == GiveUp(deadline_passed=True)
    assert decide(Failure(retryable=True, retry_after=90_000)) == GiveUp(deadline_passed=True)


@pytest.mark.parametrize("room", [1, 2, 5, 6, 12, 3600])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999_999])
def test_chance_never_costs_an_attempt_that_is_in_time_without_it(room: int, jitter: float) -> None:
    """The wait is a minute, and chance may add six seconds of it: fewer where the deadline is near."""
    earliest = NOW + timedelta(minutes=1)
    decided = decide(Failure(retryable=True), before=earliest + timedelta(seconds=room), jitter=jitter)
    assert isinstance(decided, RetryAt)
    assert earliest <= decided.at <= earliest + timedelta(seconds=min(6, room / 2))
