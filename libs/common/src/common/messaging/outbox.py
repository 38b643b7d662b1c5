"""Transactional outbox: a message is a row written with the state it tells of, so that both exist or neither does."""

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Table

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.message import Event
from common.database.database import Transaction
from common.messaging.outbox_rows import OutboxRows
from common.messaging.topology import EVENTS

LOGGED_ONE_BY_ONE = 10
"""More events of one transaction than this are logged as one line with their number."""

_log = structlog.get_logger(__name__)


class Outbox:
    """Writes events of one service; the relay it wakes publishes them after the commit, and the log tells of them."""

    def __init__(self, table: Table, *, service: str, wake: Callable[[], None]) -> None:
        self._rows = OutboxRows(table)
        self._service = service
        self._wake = wake

    def envelope(self, event: Event, *, subject: str, context: Context, sequence: int | None = None) -> Envelope:
        """Wrap an event of this service."""
        return wrap(event, service=self._service, subject=subject, context=context, sequence=sequence)

    async def emit(
        self, tx: Transaction, event: Event, *, subject: str, context: Context, sequence: int | None = None
    ) -> Envelope:
        """Write one event into the transaction's outbox and return its envelope."""
        envelope = self.envelope(event, subject=subject, context=context, sequence=sequence)
        await self.emit_all(tx, [envelope])
        return envelope

    async def emit_all(self, tx: Transaction, envelopes: Sequence[Envelope]) -> None:
        """Write many in one statement; the relay is woken once the transaction has committed."""
        if not envelopes:
            return
        rows = [(envelope.id, envelope.key, envelope.to_bytes(), envelope.time) for envelope in envelopes]
        await self._rows.write(tx, EVENTS.name, rows)
        tx.after_commit(self._wake)
        tx.after_commit(lambda: _tell(envelopes))


def _tell(envelopes: Sequence[Envelope]) -> None:
    """Log what has happened, so that a post can be followed through the logs of all services by its id."""
    if len(envelopes) > LOGGED_ONE_BY_ONE:
        _log.info("events", count=len(envelopes), keys=sorted({envelope.key for envelope in envelopes}))
        return
    for envelope in envelopes:
        more = {name: envelope.data[name] for name in ("attempt", "code", "reason") if envelope.data.get(name) is not None}
        _log.info("event", key=envelope.key, subject=envelope.subject, origin_id=envelope.correlationid, **more)
