"""What operators do, as events, so that the audit trail shows it."""

from typing import Any, ClassVar

from common.contracts.message import Event


class OperatorAction(Event):
    """An operator changed something by a command: which one, and on what."""

    KEY: ClassVar[str] = "operator.action.v1"
    action: str
    details: dict[str, Any] = {}
