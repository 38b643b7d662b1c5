"""Takes every event of the product off `analytics.all_events`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from analytics.domain.event import Event
from analytics.usecases.record_events import record_events
from common.contracts.analytics import ConfirmStored
from common.contracts.envelope import Envelope
from common.database import Transaction
from common.errors import Permanent
from common.messaging.batches import HandleBatch
from common.messaging.topology import COMMANDS, EVENTS, Binding, QueueSpec

ALL_EVENTS = QueueSpec(
    "analytics.all_events", (Binding(EVENTS, "#"), Binding(COMMANDS, ConfirmStored.KEY)), prefetch=500, own_retries=True
)

OPERATOR = "operator"


def decode(envelope: Envelope) -> Event:
    """Turn any envelope into an event, of a known type or not.

    Raises `Permanent` when its time names no instant, or it is of a service that does not tell such events. What operators did is
    told by them and by services.
    """
    teller = envelope.key.partition(".")[0]
    if teller != OPERATOR and envelope.source != f"/services/{teller}":
        raise Permanent(f"{envelope.key} is not an event of its source")
    return Event(
        id=envelope.id,
        key=envelope.key,
        source=envelope.source,
        subject=envelope.subject,
        time=_instant(envelope.time),
        user_id=envelope.userid or _user_of(envelope),
        actor=envelope.actor,
        client_ip=envelope.clientip,
        user_agent=envelope.useragent,
        correlation_id=envelope.correlationid,
        causation_id=envelope.causationid,
        sequence=int(envelope.sequence) if envelope.sequence is not None else None,
        data=envelope.data,
    )


def handle_all_events(stored: Callable[[], None]) -> HandleBatch[Event]:
    """Return what stores a batch of deliveries; the edge commits, and acknowledges after that. `stored` is called at commits."""

    async def handle(tx: Transaction, batch: Sequence[tuple[Event, Envelope]]) -> None:
        if await record_events(tx, [event for event, _ in batch]):
            tx.after_commit(stored)

    return handle


def _instant(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise Permanent("not an envelope: time has no offset")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise Permanent("not an envelope: time is out of range") from None


def _user_of(envelope: Envelope) -> UUID | None:
    """Return the user whom the data name: a refused login has no user yet, but may concern one."""
    try:
        return UUID(envelope.data["user_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
