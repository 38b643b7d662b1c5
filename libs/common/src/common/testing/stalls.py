"""How long a machine stood still while something was timed: a time limit is extended by that, and by nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

BEAT_S = 0.01


class Stalls:
    """Adds up what control steps, made while something is timed, took beyond `at_most` seconds, which they never need."""

    def __init__(self, *, at_most: float) -> None:
        self._at_most = at_most
        self.seconds = 0.0

    @contextmanager
    def control(self) -> Iterator[None]:
        """Time a control step."""
        began = time.monotonic()
        yield
        self.seconds += max(time.monotonic() - began - self._at_most, 0.0)

    @asynccontextmanager
    async def of_this_loop(self) -> AsyncIterator[None]:
        """Make control steps beside the block all the while: whatever runs on this event loop stood still as long."""
        task = asyncio.create_task(self._beat(), name="stalls")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _beat(self) -> None:
        while True:
            with self.control():
                await asyncio.sleep(BEAT_S)
