"""Keeps months ahead and drops those past the retention."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.metrics import AUDIT_REFUSED, AUDIT_RETENTION
from analytics.storage import records
from analytics.usecases.keep_months import MonthsKept, keep_months, past_to_prove
from analytics.usecases.prove_past import PastProof
from common.clock import utc_now
from common.database import Database
from common.due_loop import DueLoop, StepResult

INTERVAL_S = 3_600.0

_log = structlog.get_logger(__name__)


class Retention(DueLoop):
    """Looks at the start and every hour; replicas take turns. A record whose month is missing all the same adds it itself.

    Months that are past are proven first, a page a step, without a lock. `trusted` are the raw public keys of earlier checkpoints,
    besides that of `key`.
    """

    def __init__(
        self,
        database: Database,
        key: Ed25519PrivateKey,
        *,
        retention: timedelta,
        trusted: Collection[bytes] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__("retention", self._keep, max_sleep=INTERVAL_S)
        self._database = database
        self._key = key
        self._retention = retention
        self._now = now
        self._trusted = trusted
        self._proof: PastProof | None = None
        self._told: int | None = None

    async def _keep(self) -> StepResult:
        now = self._now()
        async with self._database.read() as connection:
            if self._proof is None:
                self._proof = await past_to_prove(
                    connection, self._key, now=now, retention=self._retention, trusted=self._trusted
                )
            if self._proof is not None and await self._proof.go_on(connection):
                return StepResult(more=True)
        proof, self._proof = self._proof, None
        async with self._database.transaction() as tx:
            kept = await keep_months(tx, self._key, now=now, retention=self._retention, proof=proof)
            head = (await records.end(tx.connection, ())).head
        if kept.added or kept.dropped:
            _log.info(
                "months_kept",
                added=[month.partition for month in kept.added],
                dropped=[month.partition for month in kept.dropped],
            )
        _log.info("audit_head", seq=head.seq, hash=head.hash.hex())
        self._tell(kept.days)
        self._alarm(kept)
        return StepResult()

    def _tell(self, days: int) -> None:
        """Show how long months are kept, and say so once when that is longer than the setting."""
        AUDIT_RETENTION.labels("setting").set(self._retention.days)
        AUDIT_RETENTION.labels("database").set(days)
        if days > self._retention.days and days != self._told:
            _log.warning("months_kept_longer", setting=self._retention.days, kept=days)
        self._told = days

    @staticmethod
    def _alarm(kept: MonthsKept) -> None:
        """Show that a month is not dropped: its records are not what they were, or others may be older. Say so at every look."""
        AUDIT_REFUSED.set(0 if kept.refused is None and not kept.strange else 1)
        if kept.strange:
            _log.error("months_not_dropped", partitions=kept.strange)
        if kept.refused is not None:
            month, broken = kept.refused
            _log.error("month_not_dropped", month=month.partition, seq=broken.seq, said=str(broken))
