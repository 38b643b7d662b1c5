"""The simulator's clock: Unix seconds inside, RFC 3339 UTC outside; it can be put forward."""

import asyncio
import time
from datetime import UTC, datetime

from pydantic import BaseModel

from tiktok_simulator.journal import Journal, Table

_ROW = "offset"


class Offset(BaseModel):
    """How many seconds the simulator is ahead of the machine."""

    seconds: float = 0.0


class Clock:
    """The machine's time plus what it was put forward. What waits on it wakes when it is. The offset is journaled."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._table = Table(journal if journal is not None else Journal(None), "clock", Offset)
        self._offset = (self._table.get(_ROW) or Offset()).seconds
        self._moved = asyncio.Event()

    @property
    def ahead(self) -> float:
        """Seconds that it was put forward altogether."""
        return self._offset

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Put the clock forward; ``seconds`` of time are over at once."""
        self._set(self._offset + seconds)

    def reset(self) -> None:
        """Go back to the machine's time."""
        self._set(0.0)

    async def sleep_until(self, moment: float) -> None:
        """Return once it is ``moment`` (Unix seconds) by this clock."""
        while (left := moment - self.now()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._moved.wait()
            except TimeoutError:
                continue

    def _set(self, seconds: float) -> None:
        self._offset = seconds
        self._table.put(_ROW, Offset(seconds=seconds))
        self._moved.set()
        self._moved = asyncio.Event()


def now() -> float:
    """Return the machine's own time in Unix seconds: what webhooks are signed with."""
    return time.time()


def rfc3339(seconds: float | None) -> str | None:
    """Return the time as text with milliseconds, None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
