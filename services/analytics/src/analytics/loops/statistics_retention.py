"""Keeps the months of the statistics ahead, and removes what is past its retention."""

from collections.abc import Callable
from datetime import datetime

import structlog

from analytics.storage.statistics_months import TABLES
from analytics.usecases.keep_statistics import BATCH, Kept, keep_statistics_months, remove_outlived
from common.clock import utc_now
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_S = 3_600.0

_log = structlog.get_logger(__name__)


class StatisticsRetention(DueLoop):
    """Looks at the start and every hour; replicas take turns. A measure whose month is missing all the same adds it itself."""

    def __init__(self, database: Database, kept: Kept, *, now: Callable[[], datetime] = utc_now, batch: int = BATCH) -> None:
        super().__init__("statistics-retention", self._keep, max_sleep=INTERVAL_S)
        self._database = database
        self._kept = kept
        self._now = now
        self._batch = batch

    async def _keep(self) -> StepResult:
        for table in TABLES:
            # A transaction each: dropping a month locks its table.
            async with self._database.transaction() as tx:
                dropped, strange = await keep_statistics_months(tx, table, self._kept, now=self._now())
            if strange:
                _log.error("partitions_of_no_month", table=table, partitions=strange)
            if dropped:
                _log.info("statistics_dropped", table=table, months=[f"{month.first_day:%Y-%m}" for month in dropped])
        async with self._database.transaction() as tx:
            removed, more = await remove_outlived(tx, self._kept, now=self._now(), limit=self._batch)
        if removed:
            _log.info("outlived_statistics_removed", rows=removed)
        return StepResult(done=removed, more=more)
