"""The simulator's clock: Unix seconds inside, RFC 3339 UTC outside."""

import time
from datetime import UTC, datetime


def now() -> float:
    """Return the time in Unix seconds."""
    return time.time()


def rfc3339(seconds: float | None) -> str | None:
    """Return the time as text with milliseconds, None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
