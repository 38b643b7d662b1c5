"""Removes what has outlived its use: states, refresh tokens, sessions, login counters, revoked keys, handled messages."""

from datetime import timedelta

import structlog

from accounts.storage.retention import BATCH, remove_outlived
from accounts.storage.tables import inbox_messages
from common.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.inbox import Inbox

INTERVAL_SECONDS = 60.0
WEBHOOKS_KEPT = timedelta(days=7)
"""At least so long it is known which webhooks were handled: longer than any is believed."""

log = structlog.get_logger(__name__)


class Retention(DueLoop):
    """Looks at the start and every minute; replicas pass over each other's rows."""

    def __init__(self, database: Database, *, batch: int = BATCH, replies_kept: timedelta = WEBHOOKS_KEPT) -> None:
        super().__init__("retention", self._remove, max_sleep=INTERVAL_SECONDS)
        self._database = database
        self._inbox = Inbox(inbox_messages)
        self._batch = batch
        self._inbox_kept = max(replies_kept, WEBHOOKS_KEPT)

    async def _remove(self) -> StepResult:
        async with self._database.transaction() as tx:
            removed, more = await remove_outlived(tx.connection, batch=self._batch)
            messages = await self._inbox.prune(tx, self._inbox_kept, limit=self._batch)
        if removed or messages:
            log.info("outlived_rows_removed", rows=removed, messages=messages)
        return StepResult(done=removed + messages, more=more or messages == self._batch, next_in=INTERVAL_SECONDS)
