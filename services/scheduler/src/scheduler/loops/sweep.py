"""The sweep: posts that stay in a moving state, waiting posts past their deadline, and posts to be stopped."""

from collections.abc import Callable
from dataclasses import replace

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import PublisherClient
from scheduler.loops.backlog import Backlog
from scheduler.storage.sweep import SweepLimits, seconds_to_next_sweep
from scheduler.usecases.end_unreadable import end_all_unreadable
from scheduler.usecases.stop_unwanted import stop_unwanted
from scheduler.usecases.sweep_posts import expire_posts, sweep_posts

STOP_BATCH = 20
AGAIN_S = 0.05
"""Between two looks whether what owners have asked for meanwhile is handled."""


class Sweep:
    """Makes sure that no post waits silently; any number of replicas may run it."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        publisher: PublisherClient,
        limits: SweepLimits,
        backlog: Backlog,
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._publisher = publisher
        self._limits = limits
        self._backlog = backlog
        self._is_behind = is_behind
        self.moving_loop = DueLoop("sweep_moving", self.sweep_moving, max_sleep=5.0)
        self.deadline_loop = DueLoop("sweep_deadlines", self.sweep_deadlines, max_sleep=5.0)
        self.unwanted_loop = DueLoop("stop_unwanted", self.stop_unwanted, max_sleep=1.0)

    async def sweep_moving(self) -> StepResult:
        """Ask about one batch of moving posts past their deadline; about a few while much still waits to be heard."""
        async with self._database.read() as connection:
            next_in = await seconds_to_next_sweep(connection)
        if next_in is None or next_in > 0:
            return StepResult(next_in=next_in)
        batch = await self._backlog.questions(self._limits.batch)
        if batch == 0:
            return StepResult()
        async with self._database.transaction() as tx:
            swept = await sweep_posts(tx, self._outbox, replace(self._limits, batch=batch))
        hopeless_after = self._limits.hopeless_after
        await end_all_unreadable(
            self._database, self._outbox, self._publisher, swept.unreadable, hopeless_after=hopeless_after
        )
        return StepResult(done=swept.posts, more=swept.posts >= self._limits.batch)

    async def sweep_deadlines(self) -> StepResult:
        """Fail one batch of waiting posts past their deadline; not while a change that waited may put it off."""
        if self._is_behind():
            return StepResult(next_in=AGAIN_S)
        async with self._database.transaction() as tx:
            failed = await expire_posts(tx, self._outbox, limit=self._limits.batch)
        return StepResult(done=failed, more=failed >= self._limits.batch)

    async def stop_unwanted(self) -> StepResult:
        """Ask the publisher to stop one batch of unwanted posts."""
        asked = await stop_unwanted(self._database, self._outbox, self._publisher, limit=STOP_BATCH)
        return StepResult(done=asked, more=asked >= STOP_BATCH)
