"""Retention: removes in small batches what is over: ended jobs, claims of webhooks, inbox rows, limits in which nothing counts."""

from datetime import timedelta

from common.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.inbox import Inbox
from publisher.storage import claims, jobs, quotas

INTERVAL_SECONDS = 600.0
BATCH = 1_000


class Retention:
    """A component."""

    name = "retention"

    def __init__(self, database: Database, inbox: Inbox, *, jobs_kept: timedelta, inbox_kept: timedelta) -> None:
        self._database = database
        self._inbox = inbox
        self._jobs_kept = jobs_kept
        self._inbox_kept = inbox_kept
        self._loop = DueLoop(self.name, self.step, max_sleep=INTERVAL_SECONDS)
        self.start = self._loop.start
        self.stop = self._loop.stop
        self.healthy = self._loop.healthy

    async def step(self) -> StepResult:
        """Remove one batch of each."""
        async with self._database.transaction() as tx:
            removed = await jobs.prune(tx.connection, self._jobs_kept, limit=BATCH)
            forgotten = await self._inbox.prune(tx, self._inbox_kept, limit=BATCH)
            idle = await quotas.prune(tx.connection, limit=BATCH)
            dropped = await claims.prune(tx.connection, self._jobs_kept, limit=BATCH)
        counts = (removed, forgotten, idle, dropped)
        return StepResult(done=sum(counts), more=max(counts) == BATCH)
