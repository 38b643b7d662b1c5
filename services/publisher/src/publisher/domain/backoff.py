"""How long to wait, in seconds. Jitter is the caller's."""

POLL_SECONDS = (1.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
POLL_MAX_SECONDS = 60.0
DEFER_FIRST_SECONDS = 2.0
DEFER_MAX_SECONDS = 300.0


def poll_wait(polls: int) -> float:
    """Return the wait before the next status poll after `polls` polls."""
    return POLL_SECONDS[polls] if polls < len(POLL_SECONDS) else POLL_MAX_SECONDS


def defer_wait(deferrals: int) -> float:
    """Return the wait after the `deferrals`-th deferral in a row (from 0): doubling, capped."""
    return float(min(DEFER_FIRST_SECONDS * 2 ** min(deferrals, 10), DEFER_MAX_SECONDS))
