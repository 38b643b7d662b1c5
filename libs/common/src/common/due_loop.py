"""Due loop: does work when it is due, exactly then, with the database as the truth.

Sleeps until the next due time its step told, is woken by whoever brings an earlier one, and never relies on the wake-up alone:
it looks again at least every `max_sleep` seconds. Any number of replicas may run the same loop when the step claims its rows
exclusively (`FOR UPDATE SKIP LOCKED`). Sleeps are measured on the event loop's monotonic clock; what is due is judged by the
database's clock, so a step of a wall clock makes nothing early.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aio_pika.exceptions import AMQPError

from common.cancellation import is_own_cancellation
from common.database.failures import is_database_away

MIN_SLEEP_S = 0.001
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 5.0
UNHEALTHY_AFTER_FAILURES = 5
STEP_TIMEOUT_S = 45.0
"""A step that takes longer is given up and tried again: its connection may have gone silent."""
SLOW_STEP_S = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did: rows handled, whether more are due at once, seconds until the next known due time."""

    done: int = 0
    more: bool = False
    next_in: float | None = None


class DueLoop:
    """A component that runs `step` whenever it is due; a failing step is logged and tried again with backoff and jitter."""

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[StepResult]],
        *,
        max_sleep: float = 1.0,
        step_timeout: float = STEP_TIMEOUT_S,
    ) -> None:
        self.name = name
        self._step = step
        self._max_sleep = max_sleep
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._step_timeout = step_timeout
        self._step_began: float | None = None

    def wake(self) -> None:
        """Look at once; safe to call at any time, also before start and from after-commit callbacks."""
        self._wake.set()

    async def start(self) -> None:
        """Start looping in a task of its own."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name=f"due-loop:{self.name}")

    async def stop(self) -> None:
        """Finish the step in hand, then end."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    def healthy(self) -> str | None:
        """Return None, or why the loop does not do its work."""
        if self._task is None or self._task.done():
            return "not running"
        if self._failures >= UNHEALTHY_AFTER_FAILURES:
            return f"failed {self._failures} times in a row"
        age = 0.0 if self._step_began is None else time.monotonic() - self._step_began
        if age > SLOW_STEP_S:
            return f"its step has been running for {age:.0f} s"
        return None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self._step_began = time.monotonic()
            try:
                async with asyncio.timeout(self._step_timeout):
                    result = await self._step()
            except asyncio.CancelledError as error:
                if is_own_cancellation():
                    raise
                await self._back_off(error)
            except Exception as error:  # noqa: BLE001 - a supervised loop: logged, counted in healthy(), tried again
                await self._back_off(error)
            else:
                self._failures = 0
                await self._wait(result)

    async def _wait(self, result: StepResult) -> None:
        if result.more:
            # Gives other tasks a turn: a long backlog must not starve confirms, heartbeats and health checks.
            await asyncio.sleep(0)
            return
        self._step_began = None
        delay = self._max_sleep if result.next_in is None else min(max(result.next_in, MIN_SLEEP_S), self._max_sleep)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def _back_off(self, error: BaseException) -> None:
        """Wait after a failure; wake-ups do not shorten it, a stop does. A trace is logged where it tells something."""
        self._failures += 1
        self._step_began = None
        ceiling = min(BACKOFF_FIRST_S * 2 ** min(self._failures, 10), BACKOFF_MAX_S)
        delay = ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        _log.error(
            "due_loop_step_failed",
            loop=self.name,
            failures=self._failures,
            retry_in=round(delay, 3),
            reason=f"{type(error).__name__}: {error}",
            exc_info=None if is_database_away(error) or isinstance(error, AMQPError) else error,
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)
