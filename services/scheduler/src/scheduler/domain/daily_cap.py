"""TikTok's cap on an account's posts, or drafts, of a day: whether it still has room when a post is due, and if not, when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.clock import rfc3339
from scheduler.domain.finding import Finding

SHORT_WAIT = timedelta(minutes=2)
"""A wait that nobody is told of: the same times every day come a little too early each, because the cap's day has a margin."""
_CODES = {"direct": ("tiktok_daily_posts", "posts"), "inbox": ("tiktok_pending_drafts", "drafts")}
"""The codes that the publisher gives to a post that waits for the cap, and what it counts."""


@dataclass(frozen=True, slots=True)
class Day:
    """How an account's day stands at the publisher: at most `allowed` in any `window`; None: they are not counted.

    `moments` are those of the last posts, oldest first, ones foreseen included; nothing goes out before `not_before`.
    """

    allowed: int | None
    window: timedelta
    moments: tuple[datetime, ...] = ()
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A post that waits for its time; nothing of it goes out after `publish_before`."""

    due_at: datetime
    publish_before: datetime | None


def check_day(day: Day, planned: Iterable[Planned], post: Planned, mode: str) -> Finding | None:
    """Return what is wrong when there is no room for a post at its time, `planned` going before it in the order given.

    `alternatives` holds the time at which it goes out at the earliest, to the full minute.
    """
    when = _forecast(day, planned, post)
    is_lost = post.publish_before is not None and when >= post.publish_before
    if when <= post.due_at or (when - post.due_at <= SHORT_WAIT and not is_lost):
        return None
    shown = _whole_minute(when)
    code, things = _CODES[mode]
    crowd = (
        f"TikTok accepts {day.allowed} {things} of an account from apps within 24 hours, and as many come before this one"
        if day.allowed is not None and (day.not_before is None or day.not_before < when)
        else f"TikTok accepts no more {things} of this account for a while"
    )
    moment = f"{shown.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if is_lost:
        message = f"{crowd}: there is no room before {moment}, and its publish_before is earlier."
        hint = "Choose a time from then on, or a later publish_before: as it is, it would end as failed (deadline_passed)."
    else:
        message = f"{crowd}: it goes out at {moment} at the earliest."
        hint = "Nothing to do: it waits by itself. To have it on time, choose a time from then on that has room."
    return Finding("scheduled_time", code, message, hint, alternatives=(rfc3339(shown),))


def _forecast(day: Day, planned: Iterable[Planned], post: Planned) -> datetime:
    taken = list(day.moments)
    for one in planned:
        moment = _next(day, taken, one.due_at)
        if one.publish_before is None or moment < one.publish_before:
            taken.append(moment)
    return _next(day, taken, post.due_at)


def _next(day: Day, taken: Sequence[datetime], due_at: datetime) -> datetime:
    moment = max([due_at, *filter(None, [day.not_before]), *taken[-1:]])
    if day.allowed is not None and len(taken) >= day.allowed:
        moment = max(moment, taken[-day.allowed] + day.window)
    return moment


def _whole_minute(moment: datetime) -> datetime:
    floor = moment.replace(second=0, microsecond=0)
    return floor if floor == moment else floor + timedelta(minutes=1)
