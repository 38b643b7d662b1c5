"""Waiting for a condition with a deadline: tests never sleep for a guessed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], timeout: float = 30.0, interval: float = 0.02) -> T: ...


@overload
async def eventually(predicate: Callable[[], T], timeout: float = 30.0, interval: float = 0.02) -> T: ...


async def eventually(predicate: Callable[[], Any], timeout: float = 30.0, interval: float = 0.02) -> Any:
    """Call `predicate` (plain or async) until it returns something true, and return that.

    An AssertionError inside it counts as not yet. After `timeout` seconds an AssertionError shows the last value or failure;
    other exceptions pass at once.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
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
        await asyncio.sleep(interval)
