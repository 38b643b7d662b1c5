"""Consumers: deliveries from work queues to handlers, acknowledged after the commit, each failure sent where it belongs.

handled                          commit, then acknowledge
database away                    stay on it, tried again in place with backoff: the queue is the buffer
passing reason or our own bug    a copy to a retry tier with the attempt counted, then acknowledge
never (invalid, too often)       a copy to the dead-letter queue with the reason, then acknowledge
its consumer keeps dying         the same, before RabbitMQ itself would drop it there without a word
"""

from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from aio_pika.abc import AbstractRobustConnection, AbstractRobustQueue
from aiormq import Channel
from faststream import AckPolicy
from faststream.rabbit import RabbitBroker, RabbitMessage
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from common.messaging.connection import connect_patiently, consuming_broker, probe
from common.messaging.dead_letters import Redelivery
from common.messaging.incoming import Incoming
from common.messaging.patience import until_database_answers
from common.messaging.topology import QueueSpec, dead_letter_queue, work_queue

Handle = Callable[[Incoming], Awaitable[None]]
OnDead = Callable[[Incoming], Awaitable[None]]

_log = structlog.get_logger(__name__)


class Consumer:
    """A component that consumes some queues over one connection.

    `subscribe` before `start`. Stopping takes no new deliveries, lets handlers in hand finish for `grace` seconds and leaves the
    rest unacknowledged, which hands it back to the queue.
    """

    def __init__(
        self, url: SecretStr, redelivery: Redelivery, *, service: str, prefetch: int = 50, grace: float = 15.0
    ) -> None:
        self._redelivery = redelivery
        self._broker: RabbitBroker = consuming_broker(
            url, prefetch=prefetch, name=f"{service}:consume", graceful_timeout=grace
        )
        self._specs: list[QueueSpec] = []
        self._queues: list[AbstractRobustQueue] = []
        self._connection: AbstractRobustConnection | None = None

    def subscribe(self, spec: QueueSpec, handle: Handle, *, on_dead: OnDead | None = None) -> None:
        """Route deliveries of a queue to `handle`, which commits its own effect; `on_dead` runs after a dead letter."""

        async def deliver(message: RabbitMessage) -> None:
            await self._deliver(Incoming.of(message, spec.name), handle, on_dead)

        subscriber = self._broker.subscriber(
            work_queue(spec.name), ack_policy=AckPolicy.MANUAL, no_reply=True, decoder=_whole_message
        )
        subscriber(deliver)
        self._specs.append(spec)

    async def start(self) -> None:
        """Connect, declare queues, dead-letter queues and bindings, then consume."""
        self._connection = await connect_patiently(self._broker)
        for spec in self._specs:
            await self._broker.declare_queue(dead_letter_queue(spec.name))
            queue = await self._broker.declare_queue(work_queue(spec.name))
            for binding in spec.bindings:
                await queue.bind(await self._broker.declare_exchange(binding.exchange), routing_key=binding.pattern)
            self._queues.append(queue)
        await self._broker.start()

    async def stop(self) -> None:
        """Stop consuming, finish or hand back what is in hand, close the connection."""
        await self._broker.stop()

    async def check(self) -> str | None:
        """Return None when the broker answers and every queue has this replica's consumer, else the reason (readiness)."""
        if self._connection is None:
            return "not started"
        reason = await probe(self._connection)
        return reason or await self._missing_consumer()

    async def _missing_consumer(self) -> str | None:
        if not self._queues:
            return None
        channel = cast("Channel", await self._queues[0].channel.get_underlay_channel())
        missing = len(self._queues) - len(channel.consumers)
        return f"{missing} of {len(self._queues)} consumers are gone" if missing > 0 else None

    async def _deliver(self, incoming: Incoming, handle: Handle, on_dead: OnDead | None) -> None:
        with bound_contextvars(queue=incoming.queue, delivery_attempt=incoming.attempt):
            try:
                incoming.require_survivable()
                await until_database_answers(lambda: handle(incoming))
            except Exception as error:  # noqa: BLE001 - every failure is sent on: retry tier or dead letter
                _log.warning("message_failed", queue=incoming.queue, exc_info=error)
                if await self._redelivery.settle(incoming, error) and on_dead is not None:
                    await _tell(incoming, on_dead)
            else:
                await incoming.acknowledge()


async def _whole_message(message: RabbitMessage) -> RabbitMessage:
    """Decode a delivery to itself: handlers read the body and settle the delivery themselves."""
    return message


async def _tell(incoming: Incoming, on_dead: OnDead) -> None:
    """Run `on_dead`; the dead letter is safe in its queue already, so a failure here is only logged."""
    try:
        await until_database_answers(lambda: on_dead(incoming), give_up_after=3)
    except Exception as error:  # noqa: BLE001 - see above
        _log.warning("dead_letter_not_told", queue=incoming.queue, exc_info=error)
