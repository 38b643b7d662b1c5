"""Waiting for a condition with a deadline: tests never sleep for a guessed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE, SLOWER = 0.01, 0.2, 1.25
"""Seconds between two looks: what takes long is looked at less often, lest the looks take the time it needs."""


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], timeout: float = 60.0, interval: float | None = None) -> T: ...


@overload
async def eventually(predicate: Callable[[], T], timeout: float = 60.0, interval: float | None = None) -> T: ...


async def eventually(predicate: Callable[[], Any], timeout: float = 60.0, interval: float | None = None) -> Any:
    """Call `predicate` (plain or async) until it returns something true, and return that.

    `interval` is the pause between calls; without one it grows from 10 to 200 ms. An AssertionError inside counts as not yet. After
    `timeout` seconds an AssertionError shows the last value or failure; other exceptions pass at once.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    pause = FIRST_PAUSE if interval is None else interval
    while True:
        failure: AssertionError | None = None
        value: Any = None
        try:
            result = predicate()
            value = await result if inspect.isawaitable(result) else result
        except AssertionError as error:
            failure = error
        if failure is None and value:
            return value
        if loop.time() >= deadline:
            seen = f"last failure: {failure}" if failure is not None else f"last value: {value!r}"
            raise AssertionError(f"not within {timeout:g} s; {seen}") from failure
        await asyncio.sleep(pause)
        if interval is None:
            pause = min(pause * SLOWER, LONGEST_PAUSE)
