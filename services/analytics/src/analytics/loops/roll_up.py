"""Rolls up days of posts, so that an overview of very many posts need not count them one by one."""

from datetime import timedelta

from analytics.usecases.roll_up_post_days import roll_up_post_days
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_S = 60.0
RESTED = timedelta(minutes=5)
BATCH = 50


class RollUp(DueLoop):
    """Looks every minute for days that have not changed for five; any number of replicas may. Until then they are counted."""

    def __init__(self, database: Database, *, rested: timedelta = RESTED) -> None:
        super().__init__("roll_up", self._roll_up, max_sleep=INTERVAL_S)
        self._database = database
        self._rested = rested

    async def _roll_up(self) -> StepResult:
        async with self._database.transaction() as tx:
            done = await roll_up_post_days(tx, rested=self._rested, limit=BATCH)
        return StepResult(done, more=done == BATCH)
