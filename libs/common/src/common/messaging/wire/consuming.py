"""A connection that consumes queues: declares them, takes their deliveries, and comes back when it was lost."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiormq.abc import AbstractChannel, DeliveredMessage
from pydantic import SecretStr

from common.messaging.headway import Found
from common.messaging.topology import RETRY_TIERS, QueueSpec, dead_letter_queue, work_queue
from common.messaging.wire.declare import declare_exchange, declare_queue
from common.messaging.wire.frames import Delivery, ack_frames
from common.messaging.wire.link import Link, Session
from common.messaging.wire.tap import Tap

CANCEL_TIMEOUT_S = 2.0

Take = Callable[[Session, Sequence[Delivery]], None]


class ConsumingLink:
    """A component that hands deliveries to `take`, with the connection that they belong to: their tags mean nothing on another.

    Of each queue at most its `prefetch` are unacknowledged. A delivery names its queue. `on_lost` is called when a connection is
    lost: what was delivered over it comes again; `on_found` before the first delivery of each one, with the queues as they were.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        name: str,
        queues: Sequence[QueueSpec],
        take: Take,
        on_lost: Callable[[], None] = lambda: None,
        on_found: Callable[[Mapping[str, Found]], None] = lambda _: None,
    ) -> None:
        self._queues = queues
        self._take = take
        self._on_lost = on_lost
        self._on_found = on_found
        self._session: Session | None = None
        self._link = Link(url, name=name, tap=self._tap, prepare=self._prepare, on_lost=on_lost, confirms=False)
        self.start = self._link.start
        self.stop = self._link.stop
        self.check = self._link.check

    async def cancel(self) -> None:
        """Take no new deliveries, as far as the broker can be told."""
        session = self._session
        if session is None or session.lost.is_set():
            return
        with suppress(Exception):
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                for spec in self._queues:
                    await session.channel.basic_cancel(spec.name)

    def _tap(self) -> Tap:
        opened: list[Session] = []
        self._opened = opened
        return Tap(on_deliveries=lambda deliveries: self._hear(opened[0], deliveries))

    def _hear(self, session: Session, deliveries: Sequence[Delivery]) -> None:
        # Over a connection that was given up some may still arrive; they come again on the next one.
        if not session.lost.is_set():
            self._take(session, deliveries)

    async def _prepare(self, session: Session) -> None:
        self._opened.append(session)
        self._session = session
        channel = session.channel
        # The broker takes the consumer away with its queue: a new connection makes both anew.
        channel.on_consumer_cancel_callbacks.add(lambda _: self._link.drop(session))
        self._on_found({spec.name: await _declare(channel, spec) for spec in self._queues})
        try:
            for spec in self._queues:
                # Holds for the consumers that begin after it.
                await channel.basic_qos(prefetch_count=spec.prefetch)
                await channel.basic_consume(spec.name, _unused, consumer_tag=spec.name)
        except BaseException:
            self._on_lost()
            raise


async def _declare(channel: AbstractChannel, spec: QueueSpec) -> Found:
    """Make a queue with all that belongs to it, and return how it was found."""
    await declare_queue(channel, dead_letter_queue(spec.name))
    found = await declare_queue(channel, work_queue(spec.name))
    for tier in RETRY_TIERS if spec.own_retries else ():
        await declare_queue(channel, tier.queue_of(spec.name))
    for binding in spec.bindings:
        await declare_exchange(channel, binding.exchange)
        await channel.queue_bind(spec.name, binding.exchange.name, routing_key=binding.pattern)
    await _take_over(channel, spec)
    return Found(found.message_count or 0, found.consumer_count or 0)


async def _take_over(channel: AbstractChannel, spec: QueueSpec) -> None:
    """Take its bindings from the queue that had them before; replicas of an earlier version give them to that one again."""
    if spec.taken_from is None:
        return
    await declare_queue(channel, dead_letter_queue(spec.taken_from))
    await declare_queue(channel, work_queue(spec.taken_from))
    for binding in spec.bindings:
        await channel.queue_unbind(spec.taken_from, binding.exchange.name, routing_key=binding.pattern)


async def acknowledge(session: Session, tags: Sequence[int]) -> None:
    """Acknowledge; on a lost connection in vain: the messages come again, and the inbox knows them."""
    if not tags:
        return
    with suppress(ConnectionError):
        await session.write(ack_frames(session.channel.number, tags))


async def _unused(_: DeliveredMessage) -> None:
    """Stand where the library wants a callback: the tap takes the deliveries."""
