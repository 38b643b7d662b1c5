"""When TikTok is asked for numbers: accounts hourly, videos at some ages and then daily, spread over the time there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from analytics.domain.measures import hour_of

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
SPREAD_SECONDS: Final = 3_000
"""Accounts have their turns within the first 50 minutes of each hour: what fails then can be tried again in the same hour."""
RETRY_FIRST: Final = timedelta(seconds=30)
RETRY_MAX: Final = timedelta(minutes=10)
DAY_SECONDS: Final = 86_400
CALM: Final = timedelta(hours=12)
"""So long at least after the last of the first looks a video's first daily one comes."""


def turn_in_hour(account_id: UUID) -> timedelta:
    """Return how long after the beginning of each hour an account has its turn; its id decides."""
    return timedelta(seconds=account_id.int % SPREAD_SECONDS)


def next_snapshot(account_id: UUID, now: datetime) -> datetime:
    """Return the account's turn in the hour after `now`."""
    return hour_of(now) + HOUR + turn_in_hour(account_id)


def snapshot_after_failure(
    account_id: UUID, now: datetime, *, failures: int, at_least: timedelta = timedelta(0), jitter: float = 1.0
) -> datetime:
    """Return when to try again after `failures` in a row (from 1): in the same hour, else at the turn in the next one.

    `at_least` is a wait that was asked for; `jitter` from 0 to 1 shortens the growing waits by up to half. The hour that is over by
    then stays without a snapshot.
    """
    again = now + max(_backoff(failures) * (0.5 + jitter / 2), at_least)
    return again if again < hour_of(now) + HOUR else max(next_snapshot(account_id, now), now + at_least)


def _backoff(failures: int) -> timedelta:
    return min(RETRY_FIRST * 2.0 ** min(failures - 1, 20), RETRY_MAX)


@dataclass(frozen=True, slots=True)
class VideoLooks:
    """The plan for a video: looks at `ages` after it was published, then one a day until it is `last` old."""

    ages: Sequence[timedelta]
    last: timedelta

    def next_look(self, published_at: datetime, account_id: UUID, now: datetime) -> datetime | None:
        """Return the first look after `now`, None when there is none; what was missed is not made up for.

        Daily looks come at a time of day that the account's id decides: so those of an account's videos share calls.
        """
        at = next((published_at + age for age in self.ages if published_at + age > now), None)
        if at is None:
            after = max(now, published_at + max(self.ages, default=timedelta(0)) + CALM)
            at = _next_time_of_day(account_id.int % DAY_SECONDS, after)
        return at if at <= published_at + self.last else None

    def after_failure(
        self,
        published_at: datetime,
        account_id: UUID,
        now: datetime,
        *,
        at_least: timedelta = timedelta(0),
        jitter: float = 1.0,
    ) -> datetime | None:
        """Return when to try a look again that failed for a passing reason: in some minutes, the next look at the latest.

        A wait that was asked for (`at_least`) is kept in any case. None when there is no further look.
        """
        again = now + max(RETRY_MAX * (0.5 + jitter / 2), at_least)
        planned = self.next_look(published_at, account_id, now)
        return None if planned is None else min(again, max(planned, now + at_least))


def _next_time_of_day(seconds: int, after: datetime) -> datetime:
    midnight = after.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + timedelta(seconds=seconds)
    return at if at > after else at + DAY
