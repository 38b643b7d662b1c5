"""The database's clock as a job sees it: taken at the claim, carried on by the boot clock."""

from collections.abc import Callable
from datetime import datetime, timedelta

from common.clock import boot_seconds


class JobClock:
    """Tells the time by the database's clock without asking it."""

    def __init__(self, database_now: datetime, *, at: float, clock: Callable[[], float] = boot_seconds) -> None:
        self._start = database_now
        self._at = at
        self._clock = clock

    def now(self) -> datetime:
        """Return the current time (aware, UTC)."""
        return self._start + timedelta(seconds=self._clock() - self._at)
