"""The due loop: exact waits, wake-ups, backoff after failures, a stop that finishes the step in hand."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aio_pika.exceptions import AMQPConnectionError
from structlog.testing import capture_logs

from common import due_loop
from common.due_loop import DueLoop, StepResult
from common.testing.eventually import eventually


class Steps:
    """Scripted steps that record when they ran."""

    def __init__(self, *script: StepResult | Exception) -> None:
        self.script = list(script)
        self.at: list[float] = []
        self.ran = asyncio.Event()

    async def __call__(self) -> StepResult:
        self.at.append(asyncio.get_running_loop().time())
        self.ran.set()
        result = self.script.pop(0) if self.script else StepResult()
        if isinstance(result, BaseException):
            raise result
        return result

    async def until(self, count: int) -> None:
        await eventually(lambda: len(self.at) >= count, interval=0.001)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., DueLoop]]:
    loops: list[DueLoop] = []

    def make(steps: Steps, **options: float) -> DueLoop:
        loops.append(DueLoop("test", steps, **options))
        return loops[-1]

    yield make
    for loop in loops:
        await loop.stop()


async def test_it_sleeps_until_the_next_due_time(start: Callable[..., DueLoop]) -> None:
    steps = Steps(StepResult(next_in=0.05))
    await start(steps, max_sleep=3600).start()
    await steps.until(2)
    assert steps.at[1] - steps.at[0] >= 0.049


async def test_it_looks_again_although_nothing_is_known(start: Callable[..., DueLoop]) -> None:
    steps = Steps(StepResult(next_in=3600.0), StepResult())
    await start(steps, max_sleep=0.02).start()
    await steps.until(3)


async def test_a_wake_up_is_never_lost(start: Callable[..., DueLoop]) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    count = 0

    async def step() -> StepResult:
        nonlocal count
        count += 1
        entered.set()
        await leave.wait()
        return StepResult()

    loop = start(step, max_sleep=30)  # type: ignore[arg-type]
    await loop.start()
    await entered.wait()
    loop.wake()
    leave.set()
    await eventually(lambda: count == 2)


async def test_more_runs_at_once_and_lets_others_run(start: Callable[..., DueLoop]) -> None:
    steps = Steps(*(StepResult(done=1, more=True) for _ in range(50)))
    await start(steps, max_sleep=30).start()
    await steps.until(51)


async def test_failures_back_off_show_and_heal(start: Callable[..., DueLoop]) -> None:
    steps = Steps(*(RuntimeError("away") for _ in range(5)))
    loop = start(steps, max_sleep=30)
    assert loop.healthy() == "not running"
    with capture_logs() as logs:
        await loop.start()
        await steps.until(6)
    waits = [line["retry_in"] for line in logs if line["event"] == "due_loop_step_failed"]
    assert [ceiling / 2 <= wait <= ceiling for wait, ceiling in zip(waits, (0.1, 0.2, 0.4, 0.8, 1.6), strict=True)] == [
        True
    ] * 5
    gaps = [later - earlier for earlier, later in zip(steps.at, steps.at[1:], strict=False)]
    assert all(gap >= wait - 0.01 for gap, wait in zip(gaps, waits, strict=True))
    assert loop.healthy() is None


async def test_many_failures_in_a_row_show(start: Callable[..., DueLoop]) -> None:
    steps = Steps(*(RuntimeError("away") for _ in range(50)))
    loop = start(steps)
    await loop.start()
    assert loop.healthy() is None
    await eventually(lambda: loop.healthy() == "failed 5 times in a row")


async def test_a_stop_finishes_the_step_in_hand_and_interrupts_a_backoff(
    start: Callable[..., DueLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BACKOFF_FIRST_S", "BACKOFF_MAX_S"):
        monkeypatch.setattr(due_loop, name, 3600.0)
    steps = Steps(RuntimeError("away"))
    loop = start(steps)
    await loop.start()
    await steps.until(1)
    await asyncio.wait_for(loop.stop(), 60)
    assert loop.healthy() == "not running"


async def test_a_cancellation_that_nobody_asked_for_is_a_failed_step(start: Callable[..., DueLoop]) -> None:
    steps = Steps(asyncio.CancelledError(), StepResult())  # type: ignore[arg-type]
    loop = start(steps, max_sleep=30)
    await loop.start()
    await steps.until(2)
    assert loop.healthy() is None


async def test_cancelling_the_loop_itself_ends_it(start: Callable[..., DueLoop]) -> None:
    entered = asyncio.Event()

    async def step() -> StepResult:
        entered.set()
        await asyncio.Event().wait()
        return StepResult()

    loop = DueLoop("test", step)
    await loop.start()
    await entered.wait()
    assert loop._task is not None
    loop._task.cancel()
    await asyncio.wait([loop._task])
    assert loop.healthy() == "not running"


async def test_a_step_that_hangs_shows_and_is_given_up(start: Callable[..., DueLoop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.due_loop.SLOW_STEP_S", 0.0)
    count, entered = 0, asyncio.Event()

    async def step() -> StepResult:
        nonlocal count
        count += 1
        entered.set()
        if count == 1:
            await asyncio.Event().wait()
        return StepResult()

    loop = start(step, max_sleep=30, step_timeout=0.2)  # type: ignore[arg-type]
    await loop.start()
    await entered.wait()
    assert "its step has been running" in str(loop.healthy())
    await eventually(lambda: count == 2)
    await eventually(lambda: loop.healthy() is None)


async def test_a_stop_before_a_start_does_nothing() -> None:
    await DueLoop("test", Steps()).stop()


async def test_the_log_has_a_trace_only_where_it_tells_something(start: Callable[..., DueLoop]) -> None:
    steps = Steps(OSError("connection refused"), AMQPConnectionError(), RuntimeError("a bug"))
    with capture_logs() as logs:
        await start(steps).start()
        await steps.until(4)
    assert [(entry["reason"], entry["exc_info"] is not None) for entry in logs] == [
        ("OSError: connection refused", False),
        ("AMQPConnectionError: ", False),
        ("RuntimeError: a bug", True),
    ]
