"""Keeps months ahead and drops those past the retention."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.metrics import AUDIT_RETENTION
from analytics.usecases.keep_months import keep_months
from common.clock import utc_now
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_S = 3_600.0

_log = structlog.get_logger(__name__)


class Retention(DueLoop):
    """Looks at the start and every hour; replicas take turns. A record whose month is missing all the same adds it itself."""

    def __init__(
        self, database: Database, key: Ed25519PrivateKey, *, retention: timedelta, now: Callable[[], datetime] = utc_now
    ) -> None:
        super().__init__("retention", self._keep, max_sleep=INTERVAL_S)
        self._database = database
        self._key = key
        self._retention = retention
        self._now = now
        self._told: int | None = None

    async def _keep(self) -> StepResult:
        async with self._database.transaction() as tx:
            kept = await keep_months(tx, self._key, now=self._now(), retention=self._retention)
        if kept.added or kept.dropped:
            _log.info(
                "months_kept",
                added=[month.partition for month in kept.added],
                dropped=[month.partition for month in kept.dropped],
            )
        self._tell(kept.days)
        return StepResult()

    def _tell(self, days: int) -> None:
        """Show how long months are kept, and say so once when that is longer than the setting."""
        AUDIT_RETENTION.labels("setting").set(self._retention.days)
        AUDIT_RETENTION.labels("database").set(days)
        if days > self._retention.days and days != self._told:
            _log.warning("months_kept_longer", setting=self._retention.days, kept=days)
        self._told = days
