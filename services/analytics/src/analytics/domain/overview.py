"""How publishing went over a period, and when a user's posts are watched most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

STATES = (
    *("draft", "scheduled", "due", "publishing", "deferred", "processing", "retry_scheduled"),
    *("published", "sent_to_inbox", "unconfirmed", "failed", "cancelled"),
)
"""Every state of a post, in the order of its life."""
MAX_FAILURES = 50

_ENDS = ("published", "failed", "unconfirmed")
"""What an attempt to publish ends as. Not what a person cancelled, nor what still waits in an inbox for its creator."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Percentiles in milliseconds, None when nothing was published on its way yet."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many posts of a period are in each state, how many failed with each code, and how late they began."""

    states: Mapping[str, int]
    failures: Mapping[str, int]
    lateness: Lateness


@dataclass(frozen=True, slots=True)
class BestHour:
    """The median of the views a day after publication, of the posts published in an hour of a weekday (ISO: 1 is Monday)."""

    weekday: int
    hour: int
    median_views: float
    sample_size: int


@dataclass(frozen=True, slots=True)
class Overview:
    """How publishing went."""

    posts: dict[str, int]
    success_rate: float | None
    lateness: Lateness
    failures: list[tuple[str, int]]
    best_hours: list[BestHour]


def posts_by_state(states: Mapping[str, int]) -> dict[str, int]:
    """Return how many posts are in each state; states without any are there with 0."""
    return dict.fromkeys(STATES, 0) | dict(states)


def success_rate(posts: Mapping[str, int]) -> float | None:
    """Return the part of the ended posts that was published, None when none has ended."""
    ended = sum(posts[state] for state in _ENDS)
    return posts["published"] / ended if ended else None


def most_frequent(failures: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the codes that posts failed with, most frequent first, at most 50."""
    return sorted(failures.items(), key=lambda item: (-item[1], item[0]))[:MAX_FAILURES]


def offsets(zone: ZoneInfo, since: datetime, until: datetime) -> Sequence[tuple[datetime, timedelta]]:
    """Return the moments from which on a zone differs from UTC by so much, from `since` on, in order; aware ones in UTC."""
    found = [(since, _offset(zone, since))]
    moment = since
    while moment < until:
        later = min(moment + timedelta(days=1), until)
        if _offset(zone, later) != found[-1][1]:
            later = _changed(zone, moment, later)
            found.append((later, _offset(zone, later)))
        moment = later
    return found


def _changed(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first second after `before` at which the clock differs from UTC as it does `after`, or in a third way."""
    old = _offset(zone, before)
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - the moment is aware
    return offset
