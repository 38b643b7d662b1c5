"""When a post is to go out: an instant, from a time with an offset or from a local time and its zone."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from scheduler.domain.finding import Finding

TOLERANCE = timedelta(minutes=1)
YEARS_AHEAD = 10
DEFAULT_DEADLINE = timedelta(hours=24)
_FIELD = "scheduled_time"


_NO_PLACES = frozenset({"localtime", "Factory"})
"""Found in zone databases, but they say nothing: the machine's own zone, and none at all."""


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES


def check_timezone(timezone: str | None) -> Finding | None:
    """Return what is wrong with the name of a time zone; None is none."""
    if timezone is None or timezone in _known_zones():
        return None
    return Finding("timezone", "unknown_timezone", "This time zone is not in the IANA database.", "Use e.g. Europe/Berlin.")


def deadline_of_request(sent_at: datetime, *, now: datetime) -> datetime:
    """Return until when what its owner wanted at once may start: a day from then; the clock that `sent_at` is from may be ahead."""
    return min(sent_at, now) + DEFAULT_DEADLINE


def resolve_scheduled_time(scheduled: datetime, timezone: str | None, *, now: datetime) -> datetime | Finding:
    """Return the instant (UTC) that `scheduled` means, or what is wrong with it.

    `now` is the time of the command, so that a command that runs late is judged as it was meant. A time with an offset
    stands for itself and `timezone` is only kept; one without needs an IANA `timezone`. Up to a minute in the past is
    accepted (clocks differ), and up to ten years ahead, by the calendar and the same minute.
    """
    if (unknown := check_timezone(timezone)) is not None:
        return unknown
    if (outside := _outside_horizon(scheduled.replace(tzinfo=UTC), now, slack=timedelta(days=2))) is not None:
        return outside
    if scheduled.tzinfo is not None:
        instant: datetime | Finding = scheduled.astimezone(UTC)
    elif timezone is None:
        return Finding(
            _FIELD, "timezone_required", "The time has no offset and no time zone.", "Add an offset such as Z, or `timezone`."
        )
    else:
        instant = _from_local(scheduled, ZoneInfo(timezone))
    if isinstance(instant, Finding):
        return instant
    return _outside_horizon(instant, now) or instant


def check_publish_before(publish_before: datetime, *, now: datetime) -> Finding | None:
    """Return what is wrong with a deadline by itself: it lies in the past or beyond the horizon."""
    if now < publish_before <= _horizon(now) + DEFAULT_DEADLINE:
        return None
    return Finding(
        "publish_before",
        "publish_before_out_of_range",
        "The deadline lies in the past or too far ahead.",
        "Leave it out: then it is 24 hours after the scheduled time.",
    )


def _outside_horizon(instant: datetime, now: datetime, *, slack: timedelta = timedelta(0)) -> Finding | None:
    if instant < now - TOLERANCE - slack:
        return Finding(_FIELD, "scheduled_in_past", "The time lies in the past.", "Choose a later time, or publish now.")
    if instant > _horizon(now) + slack:
        return Finding(_FIELD, "scheduled_too_far", "The time lies more than ten years ahead.", "Choose an earlier time.")
    return None


def _horizon(now: datetime) -> datetime:
    """Return the same moment ten years later (of a 29 February the day after), and the tolerance."""
    is_leap_day = (now.month, now.day) == (2, 29)
    later = now + timedelta(days=1) if is_leap_day else now
    return later.replace(year=now.year + YEARS_AHEAD) + TOLERANCE


def _from_local(local: datetime, zone: ZoneInfo) -> datetime | Finding:
    """Return the instant of a wall clock time, unless the clock skips it or shows it twice."""
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    instants = sorted(moment.astimezone(UTC) for moment in (first, second))
    alternatives = tuple(instant.astimezone(zone).isoformat() for instant in instants)
    exists = instants[0].astimezone(zone).replace(tzinfo=None) == local.replace(fold=0)
    code = "ambiguous_local_time" if exists else "nonexistent_local_time"
    message = (
        f"The clocks of {zone.key} show {local.isoformat()} twice."
        if exists
        else f"The clocks of {zone.key} skip {local.isoformat()}."
    )
    return Finding(_FIELD, code, message, "Send one of the alternatives.", alternatives)
