"""Time: aware UTC for what is stored or shown, a monotonic clock for waits and leases."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the wall clock as an aware UTC datetime."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Format an aware datetime as RFC 3339 in UTC with microseconds and `Z`."""
    # What comes from the database is in UTC already.
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds")[:-6] + "Z"


def boot_seconds() -> float:
    """Return seconds on a clock that never steps and goes on while the process is stopped or the machine sleeps.

    CLOCK_BOOTTIME where the system has it (Linux), else the monotonic clock. Leases are judged by it: a replica that was
    paused beyond its lease must notice.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()
