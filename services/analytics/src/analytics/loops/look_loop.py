"""What loops that ask TikTok have in common: places for looks at once, and patience when the quota has no room."""

import asyncio
import time
from collections.abc import Coroutine, Sequence

import structlog

from analytics.call_pace import CallPace
from common.due_loop import DueLoop, StepResult

MAX_SLEEP_SECONDS = 5.0
NO_TURN_SECONDS = 1.0
"""So long nothing is taken after somebody found no turn and gave back what it had."""

_log = structlog.get_logger(__name__)


class LookLoop(DueLoop):
    """Takes what is due into free places; each look is a task of its own, so that a slow one holds up no other.

    A subclass says how to take (`_claim`, which returns a coroutine for each look) and when the next one is due. Any number of
    replicas may run it.
    """

    def __init__(self, name: str, pace: CallPace, *, concurrency: int) -> None:
        super().__init__(name, self._step_of_looks, max_sleep=MAX_SLEEP_SECONDS)
        self._pace = pace
        self._concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()
        self._pause_until = float("-inf")

    async def stop(self) -> None:
        """Take nothing more and let what is under way end."""
        await super().stop()
        if self._running:
            await asyncio.wait(set(self._running))

    def pause(self) -> None:
        """Take nothing for a second: the quota has no room."""
        self._pause_until = time.monotonic() + NO_TURN_SECONDS

    async def _claim(self, free: int) -> Sequence[Coroutine[None, None, None]]:
        """Take up to `free` looks that are due."""
        raise NotImplementedError

    async def _seconds_to_next(self) -> float | None:
        """Return the seconds until the next look is due, None when none is planned."""
        raise NotImplementedError

    async def _step_of_looks(self) -> StepResult:
        free = self._concurrency - len(self._running)
        if free <= 0:
            # A look that ends wakes the loop.
            return StepResult()
        pause = self._pause_until - time.monotonic()
        wait = pause if pause > 0 else await self._pace.no_turn_for()
        if wait is not None:
            return StepResult(next_in=wait)
        claimed = await self._claim(free)
        for look in claimed:
            task = asyncio.create_task(self._guarded(look), name=f"{self.name}-look")
            self._running.add(task)
            task.add_done_callback(self._done)
        if len(self._running) >= self._concurrency:
            return StepResult(len(claimed))
        return StepResult(len(claimed), next_in=await self._seconds_to_next())

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self.wake()

    async def _guarded(self, look: Coroutine[None, None, None]) -> None:
        """Let a look end; what it could not store is due again when its lease has run out."""
        try:
            await look
        except Exception as error:  # noqa: BLE001 - it must not end the others, and is told
            _log.error("look_failed", loop=self.name, reason=f"{type(error).__name__}: {error}")
