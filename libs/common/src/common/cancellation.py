"""Telling a task's own cancellation from a foreign one that a library let through."""

import asyncio


def is_own_cancellation() -> bool:
    """Return whether the running task itself was asked to end, asked while handling a CancelledError.

    A library that cancels one of its futures lets the same exception through to whoever awaits it, without anybody having
    cancelled the task.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
