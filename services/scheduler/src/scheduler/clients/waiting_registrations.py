"""Whether registrations of uploads wait in RabbitMQ: an object without a row may then get one at any moment."""

import asyncio
from collections.abc import Sequence

import aio_pika
import structlog
from aio_pika.exceptions import AMQPError
from pydantic import SecretStr

from common.messaging.topology import RETRY_TIERS

PATIENCE_S = 10.0

_log = structlog.get_logger(__name__)


def places_to_wait(queue: str) -> Sequence[str]:
    """Return the queues in which a message for `queue` may wait: its own, and those of delayed redelivery."""
    return (queue, *(tier.queue.name for tier in RETRY_TIERS))


class WaitingRegistrations:
    """Asks RabbitMQ, over a connection for each question: it is asked every half hour at most."""

    def __init__(self, url: SecretStr, *, queues: Sequence[str]) -> None:
        self._url = url
        self._queues = tuple(queues)

    async def none(self) -> bool:
        """Tell whether all the queues are empty; False when that cannot be found out."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._waiting() == 0
        except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
            _log.info("registrations_not_counted", reason=type(error).__name__)
            return False

    async def _waiting(self) -> int:
        waiting = 0
        async with await aio_pika.connect(
            self._url.get_secret_value(), client_properties={"connection_name": "scheduler:registrations"}
        ) as connection:
            for name in self._queues:
                async with connection.channel(publisher_confirms=False) as channel:
                    declared = await channel.declare_queue(name, passive=True)
                    waiting += declared.declaration_result.message_count or 0
        return waiting
