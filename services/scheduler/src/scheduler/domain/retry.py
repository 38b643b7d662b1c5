"""Whether and when a failed attempt is followed by another one: a pure decision."""

from dataclasses import dataclass
from datetime import datetime, timedelta

DEFAULT_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failures are followed up.

    `delays` are the waits before the 2nd, 3rd, ... attempt (the last one repeats), `max_attempts` counts all attempts since a
    person started the post, `jitter` is the share of the wait that chance may add.
    """

    delays: tuple[timedelta, ...] = DEFAULT_DELAYS
    max_attempts: int = 5
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Failure:
    """A proof that an attempt published nothing. `retry_after` (seconds) is what TikTok asked for."""

    retryable: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again. `deadline_passed` tells that only the deadline forbids it, `exhausted` that the tries are used up."""

    deadline_passed: bool = False
    exhausted: bool = False


def decide_retry(
    policy: RetryPolicy, failure: Failure, *, tries: int, now: datetime, publish_before: datetime, jitter: float
) -> RetryAt | GiveUp:
    """Decide what follows a failure.

    `tries` counts the attempts made since a person last started the post (at least 1); `jitter` is drawn by the caller from
    [0, 1). Everything is planned before `publish_before`, and chance never takes an attempt beyond it: close to the deadline it
    spreads over half of the room that is left. `retry_after` is a lower bound of the wait.
    """
    if not failure.retryable:
        return GiveUp()
    if tries >= policy.max_attempts:
        return GiveUp(exhausted=True)
    backoff = policy.delays[min(tries, len(policy.delays)) - 1]
    asked = failure.retry_after or 0.0
    if asked > (publish_before - now).total_seconds():
        # Before it is reckoned with: a date has an end, a number has none.
        return GiveUp(deadline_passed=True)
    wait = max(backoff, timedelta(seconds=asked))
    room = publish_before - (now + wait)
    if room <= timedelta(0):
        return GiveUp(deadline_passed=True)
    return RetryAt(now + wait + min(wait * policy.jitter, room / 2) * jitter)
