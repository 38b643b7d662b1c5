"""Consumers: deliveries from work queues to handlers, acknowledged after the commit, each failure sent where it belongs.

handled                          commit, then acknowledge
database away                    stay on it, tried again in place with backoff: the queue is the buffer
passing reason or our own bug    a copy to a retry tier with the attempt counted, then acknowledge
never (invalid, too often)       a copy to the dead-letter queue with the reason, then acknowledge
from an unknown sender           the same, and nobody is told
its consumer keeps dying         the same, before RabbitMQ itself would drop it there without a word
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from common.messaging.connection import user_of
from common.messaging.dead_letters import Redelivery
from common.messaging.headway import Headway
from common.messaging.incoming import Incoming, UnknownSender
from common.messaging.patience import until_database_answers
from common.messaging.topology import QueueSpec
from common.messaging.wire.consuming import ConsumingLink, acknowledge
from common.messaging.wire.frames import Delivery
from common.messaging.wire.link import Session

Handle = Callable[[Incoming], Awaitable[None]]
OnDead = Callable[[Incoming], Awaitable[None]]

_log = structlog.get_logger(__name__)


class Consumer:
    """A component that consumes some queues over one connection.

    `subscribe` before `start`. Of each queue as many messages are handled at a time as it says. Stopping takes no new deliveries,
    lets handlers in hand finish for `grace` seconds and leaves the rest unacknowledged, which hands it back to the queue.
    `headway` is told how it gets on.
    """

    def __init__(
        self, url: SecretStr, redelivery: Redelivery, *, service: str, grace: float = 15.0, headway: Headway | None = None
    ) -> None:
        self._redelivery = redelivery
        self._user = user_of(url)
        self._grace = grace
        self._queues: list[QueueSpec] = []
        self._handlers: dict[str, tuple[Handle, OnDead | None]] = {}
        self._in_hand: set[asyncio.Task[None]] = set()
        self._headway = headway or Headway()
        self._link = ConsumingLink(
            url,
            name=f"{service}:consume",
            queues=self._queues,
            take=self._take,
            on_lost=self._headway.end,
            on_found=self._headway.begin,
        )
        self.start = self._link.start
        """Connect, declare queues, dead-letter queues and bindings, then consume."""
        self.check = self._link.check

    def subscribe(self, spec: QueueSpec, handle: Handle, *, on_dead: OnDead | None = None) -> None:
        """Route deliveries of a queue to `handle`, which commits its own effect; `on_dead` runs after a dead letter."""
        self._queues.append(spec)
        self._handlers[spec.name] = handle, on_dead

    async def stop(self) -> None:
        """Stop consuming, finish or hand back what is in hand, close the connection."""
        await self._link.cancel()
        if self._in_hand:
            _, unfinished = await asyncio.wait(self._in_hand, timeout=self._grace)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await self._link.stop()

    def _take(self, session: Session, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            handle, on_dead = self._handlers[delivery.queue]
            incoming = Incoming.of_delivery(delivery, partial(acknowledge, session, [delivery.tag]))
            task = asyncio.create_task(self._deliver(incoming, handle, on_dead))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)
            task.add_done_callback(self._headway.take(delivery.queue))

    async def _deliver(self, incoming: Incoming, handle: Handle, on_dead: OnDead | None) -> None:
        with bound_contextvars(queue=incoming.queue, delivery_attempt=incoming.attempt):
            try:
                incoming.require_survivable()
                incoming.require_sender(self._user)
                await until_database_answers(lambda: handle(incoming))
            except Exception as error:  # noqa: BLE001 - every failure is sent on: retry tier or dead letter
                _log.warning("message_failed", queue=incoming.queue, exc_info=error)
                is_dead = await self._redelivery.settle(incoming, error)
                # What somebody forged tells nobody anything, and ends nothing.
                if is_dead and on_dead is not None and not isinstance(error, UnknownSender):
                    await _tell(incoming, on_dead)
            else:
                await incoming.acknowledge()


async def _tell(incoming: Incoming, on_dead: OnDead) -> None:
    """Run `on_dead`; the dead letter is safe in its queue already, so a failure here is only logged."""
    try:
        await until_database_answers(lambda: on_dead(incoming), give_up_after=3)
    except Exception as error:  # noqa: BLE001 - see above
        _log.warning("dead_letter_not_told", queue=incoming.queue, exc_info=error)
