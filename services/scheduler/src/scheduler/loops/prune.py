"""Forget handled messages and stored replies after their retention."""

from datetime import timedelta

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.inbox import PRUNE_BATCH, Inbox

EVERY_S = 600.0


class Prune:
    """Removes inbox rows older than the retention in small batches; ids and replies live equally long."""

    def __init__(self, database: Database, inbox: Inbox, retention: timedelta) -> None:
        self._database = database
        self._inbox = inbox
        self._retention = retention
        self.loop = DueLoop("prune_inbox", self.step, max_sleep=EVERY_S)

    async def step(self) -> StepResult:
        """Remove one batch."""
        async with self._database.transaction() as tx:
            removed = await self._inbox.prune(tx, self._retention)
        return StepResult(done=removed, more=removed >= PRUNE_BATCH)
