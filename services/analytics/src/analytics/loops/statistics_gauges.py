"""Measures, for Prometheus, what of the statistics is late."""

from analytics.metrics import OVERDUE, PROJECTION_BEHIND
from analytics.storage.lateness import lateness
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_SECONDS = 15.0


class StatisticsGauges(DueLoop):
    """Looks every 15 s; each replica tells the same, about all accounts and videos."""

    def __init__(self, database: Database) -> None:
        super().__init__("statistics-gauges", self._measure, max_sleep=INTERVAL_SECONDS)
        self._database = database

    async def _measure(self) -> StepResult:
        async with self._database.read_fast() as driver:
            late = await lateness(driver)
        OVERDUE.labels("accounts").set(late.accounts)
        OVERDUE.labels("videos").set(late.videos)
        PROJECTION_BEHIND.set(late.records)
        return StepResult(next_in=INTERVAL_SECONDS)
