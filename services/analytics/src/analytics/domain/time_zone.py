"""Time zones by name, and where the hours and days of their clocks begin."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

Interval = Literal["hour", "day"]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Since then every clock differs from UTC by whole quarters of an hour."""
LATEST = datetime(9000, 1, 1, tzinfo=UTC)

_NO_PLACES = frozenset({"localtime", "Factory", "posixrules"})
"""Found in zone databases, but they say nothing: the machine's own zone, and none at all."""
_HOUR = timedelta(hours=1)
_QUARTER = timedelta(minutes=15)


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES


def zone_of(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, None when there is none of that name."""
    return ZoneInfo(name) if name in _known_zones() else None


def starts(interval: Interval, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """Return, in UTC and in order, where each hour or day of a zone begins that has a part in `since` <= t < `until`.

    A day begins with the first moment of its date: it lasts 23 or 25 hours when clocks change, and one that the calendar of the
    zone skips does not appear. An hour begins when the clock shows a full hour, so the one in which clocks change by half
    an hour lasts longer.
    """
    following = _hours_from if interval == "hour" else _days_from
    found: list[datetime] = []
    for start in following(since, zone):
        if start >= until:
            return found
        if found and start <= since:
            found.pop()
        if not found or start > found[-1]:
            found.append(start)
    return found


def _days_from(moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    day = moment.astimezone(zone).date()
    while True:
        yield _midnight(day, zone)
        day += timedelta(days=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first moment of a date; where clocks skip midnight, that is the moment they are put forward."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _hours_from(moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - _HOUR
    while start.astimezone(zone).minute:
        start += _QUARTER
    while True:
        yield start
        start = _next_full_hour(start, zone)


def _next_full_hour(start: datetime, zone: ZoneInfo) -> datetime:
    later = start + _HOUR
    if later.astimezone(zone).utcoffset() == start.astimezone(zone).utcoffset():
        return later
    later = start + _QUARTER
    while later.astimezone(zone).minute:
        later += _QUARTER
    return later
