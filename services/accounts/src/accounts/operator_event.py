"""Telling the audit trail what an operator did with a command of this service."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.operations import OperatorAction
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.topology import EVENTS

CONNECT_SECONDS = 15.0


class OperatorEvents:
    """Publishes `operator.action` events, confirmed.

    Not by the outbox: a broker whose rights do not let this service tell of operators would hold up every other event behind it.
    A command publishes before it commits, so that nothing it did is missing from the audit trail.
    """

    def __init__(self, publisher: MessagePublisher, operator: str) -> None:
        self._publisher = publisher
        self._operator = operator

    async def tell(self, action: str, subject: str, details: dict[str, Any]) -> None:
        """Publish one. Raises when the broker does not confirm it."""
        event = OperatorAction(action=action, details=details)
        envelope = wrap(event, service="accounts", subject=subject, context=Context(actor=f"operator:{self._operator}"))
        message = Outgoing(
            body=envelope.to_bytes(),
            exchange=EVENTS,
            routing_key=envelope.key,
            message_type=envelope.type,
            timestamp=envelope.time,
        )
        await self._publisher.publish(message)


@asynccontextmanager
async def operator_events(amqp_url: SecretStr) -> AsyncIterator[OperatorEvents]:
    """Open a connection for them; the operator is whoever runs the command. TimeoutError when the broker is away."""
    publisher = MessagePublisher(amqp_url, service="accounts-operator")
    async with asyncio.timeout(CONNECT_SECONDS):
        await publisher.start()
    try:
        yield OperatorEvents(publisher, getpass.getuser())
    finally:
        await publisher.stop()
