"""A stretch of time that statistics are asked for: from a moment, up to but not including another."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Period:
    """`since` <= t < `until`, both aware."""

    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        """How long it lasts."""
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Spans:
    """How long a period is when nothing is said, and how long it may be."""

    default: timedelta
    longest: timedelta


class NoPeriod(ValueError):
    """What was asked for is no period: which field, a code, a sentence, and what to do about it."""

    def __init__(self, field: str, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message
        self.hint = hint


def period(since: datetime | None, until: datetime | None, *, now: datetime, spans: Spans) -> Period:
    """Return the period that is asked for: up to now unless `until` is given, of the default length unless `since` is.

    Raises NoPeriod for one that is empty or too long.
    """
    check_order(since, until)
    end = until or now
    begin = since or end - spans.default
    if begin >= end:
        raise NoPeriod("from", "in_future", "`from` must lie in the past.", "Give `to` as well, or an earlier `from`.")
    if end - begin > spans.longest:
        days = spans.longest.days
        raise NoPeriod(
            "to" if until is not None else "from",
            "period_too_long",
            f"The period is longer than {days} days.",
            f"Ask for at most {days} days at a time.",
        )
    return Period(begin, end)


def check_order(since: datetime | None, until: datetime | None) -> None:
    """Raise NoPeriod when both are given and nothing lies between them."""
    if since is not None and until is not None and since >= until:
        raise NoPeriod("to", "not_after_from", "`to` must be later than `from`.", "Give a later `to` or an earlier `from`.")
