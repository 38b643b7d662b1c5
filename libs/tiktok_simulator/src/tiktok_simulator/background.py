"""Work that goes on while requests are answered."""

import asyncio
from collections.abc import Coroutine

import structlog

log = structlog.get_logger(__name__)


class Background:
    """Tasks of one part of the simulator; one that breaks is logged."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def run(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run ``work`` under a name that no other task of this part has now."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def break_off(self, name: str) -> None:
        """Cancel the task of this name if there is one; it may take a moment to end."""
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """Break off all tasks and wait until they have ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._tasks.get(task.get_name()) is task:
            del self._tasks[task.get_name()]
        if not task.cancelled() and task.exception() is not None:
            log.error("background_work_broke", task=task.get_name(), exc_info=task.exception())
