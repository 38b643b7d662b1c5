"""Keeps months ahead and drops those past the retention."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from analytics.usecases.keep_months import keep_months
from common.clock import utc_now
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_S = 3_600.0

_log = structlog.get_logger(__name__)


class Retention(DueLoop):
    """Looks at the start and every hour; replicas take turns. Events that come before their month lie in the default part."""

    def __init__(self, database: Database, *, retention: timedelta, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__("retention", self._keep, max_sleep=INTERVAL_S)
        self._database = database
        self._retention = retention
        self._now = now

    async def _keep(self) -> StepResult:
        async with self._database.transaction() as tx:
            kept = await keep_months(tx, now=self._now(), retention=self._retention)
        if kept.added or kept.dropped or kept.deleted:
            _log.info(
                "months_kept",
                added=[month.partition for month in kept.added],
                dropped=[month.partition for month in kept.dropped],
                deleted=kept.deleted,
            )
        return StepResult(done=kept.deleted, more=kept.more)
