"""Measures, for Prometheus, which refreshes of TikTok's tokens are late."""

from accounts.metrics import OLDEST_OVERDUE, TOKENS_DUE, TOKENS_OVERDUE
from accounts.storage.due_refreshes import late_refreshes
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_SECONDS = 15.0


class TokenGauges(DueLoop):
    """Looks every 15 s; each replica tells the same, about all accounts."""

    def __init__(self, database: Database) -> None:
        super().__init__("token-gauges", self._measure, max_sleep=INTERVAL_SECONDS)
        self._database = database

    async def _measure(self) -> StepResult:
        async with self._database.read() as connection:
            late = await late_refreshes(connection)
        TOKENS_DUE.set(late.due)
        TOKENS_OVERDUE.set(late.overdue)
        OLDEST_OVERDUE.set(late.oldest_seconds)
        return StepResult(next_in=INTERVAL_SECONDS)
