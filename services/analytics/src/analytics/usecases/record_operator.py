"""Records what an operator does with the trail itself, in the trail."""

from typing import Any

from analytics.domain.event import Event
from analytics.usecases.record_events import record_events
from common.clock import utc_now
from common.contracts.operations import OperatorAction
from common.database import Transaction
from common.ids import uuid7

SOURCE = "/services/operator"


async def record_operator(tx: Transaction, action: str, subject: str, details: dict[str, Any], *, operator: str) -> None:
    """Append it, by the transaction in which it is done; without the broker, which may be away."""
    event = Event(
        id=uuid7(),
        key=OperatorAction.KEY,
        source=SOURCE,
        subject=subject,
        time=utc_now(),
        actor=f"operator:{operator}",
        data=OperatorAction(action=action, details=details).model_dump(mode="json"),
    )
    await record_events(tx, [event])
