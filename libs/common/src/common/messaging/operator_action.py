"""Telling the audit trail what an operator is about to do.

`python -m common.messaging.operator_action ACTION SUBJECT` tells it for a command that is no part of a service; AMQP_URL needs an
operator's rights. It ends with 0 once the broker has confirmed it, so what it tells of is to be done after that.
"""

import asyncio
import getpass
import sys
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel
from pydantic import Field, SecretStr

from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.operations import OperatorAction
from common.messaging.connection import CONNECT_TIMEOUT_S
from common.messaging.publisher import CONFIRM_TIMEOUT_S, Outgoing
from common.messaging.topology import EVENTS
from common.settings import EnvironmentSettings, load


class OperatorSettings(EnvironmentSettings):
    """Which broker."""

    amqp_url: SecretStr = Field(description="amqp://user:password@host:port/vhost")


async def tell(channel: AbstractChannel, action: str, subject: str, details: dict[str, Any], *, operator: str) -> None:
    """Publish an `operator.action` event on a channel with confirms; raises when the broker does not confirm it."""
    event = OperatorAction(action=action, details=details)
    envelope = wrap(event, service="operator", subject=subject, context=Context(actor=f"operator:{operator}"))
    outgoing = Outgoing(
        body=envelope.to_bytes(), routing_key=envelope.key, message_type=envelope.type, timestamp=envelope.time
    )
    exchange = await channel.get_exchange(EVENTS.name, ensure=False)
    await exchange.publish(outgoing.to_message(), routing_key=envelope.key, mandatory=False, timeout=CONFIRM_TIMEOUT_S)


async def _main(action: str, subject: str) -> None:
    connection = await aio_pika.connect(load(OperatorSettings).amqp_url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await tell(channel, action, subject, {}, operator=getpass.getuser())


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
