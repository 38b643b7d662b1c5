"""Batches at their hard moments: stopped in mid-commit, one bad message among good ones, no database, a lost connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishCancelled
from common.contracts.registry import parse
from common.database.database import Transaction
from common.errors import Permanent, Transient
from common.messaging.batch_consumer import BatchConsumer
from common.messaging.batches import BatchHandler
from common.messaging.incoming import ATTEMPT_HEADER, HANDLED_DELIVERIES
from common.messaging.topology import EVENTS, events_queue
from common.messaging.wire.frames import Delivery
from common.testing.amqp import broker_channel, next_message, running, send
from common.testing.eventually import eventually
from common.testing.tcp_gate import tcp_gate

pytestmark = pytest.mark.integration
BEAST = 666


def cancelled(attempt: int = 1) -> Envelope:
    event = PublishCancelled(post_id=uuid4(), attempt=attempt, job_id=uuid4(), account_id=uuid4(), replica="r1")
    return wrap(event, service="publisher", subject=str(event.post_id), context=Context.of_service("publisher"), sequence=1)


def decode(envelope: Envelope) -> PublishCancelled:
    return parse(envelope, PublishCancelled)


class Gate:
    """A batch handler that commits an effect per event once it is let through; `sizes` are those of the batches it saw."""

    def __init__(self, parts: Any, *, is_open: bool = True) -> None:
        self.parts = parts
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.sizes: list[int] = []
        self.failures: list[Exception] = []
        if is_open:
            self.opened.set()

    async def handle(self, tx: Transaction, batch: Sequence[tuple[PublishCancelled, Envelope]]) -> None:
        self.sizes.append(len(batch))
        for event, envelope in batch:
            if event.attempt == BEAST:
                raise Permanent("number of the beast")
            await self.parts.effect(tx, str(envelope.id))
        self.entered.set()
        await self.opened.wait()
        if self.failures:
            raise self.failures.pop(0)

    def handler(self, *, with_inbox: bool = True) -> BatchHandler[PublishCancelled]:
        inbox = self.parts.inbox if with_inbox else None
        return BatchHandler(self.parts.queue, self.parts.database, inbox, decode=decode, handle=self.handle)

    def consumer(self, **options: Any) -> BatchConsumer[PublishCancelled]:
        url = options.pop("url", self.parts.amqp_url)
        spec = events_queue(self.parts.queue, prefetch=options.pop("prefetch", 200))
        return BatchConsumer(
            url, self.parts.redelivery, self.handler(), spec, service="test", grace=options.pop("grace", 5.0), **options
        )

    async def seen(self) -> list[str]:
        return sorted(await self.parts.effects_seen())

    async def until(self, *envelopes: Envelope) -> None:
        wanted = sorted(str(envelope.id) for envelope in envelopes)

        async def all_there() -> bool:
            return await self.seen() == wanted

        await eventually(all_there)


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    async with broker_channel(rabbitmq_url) as opened:
        yield opened


async def waiting(channel: AbstractChannel, queue: str) -> int:
    return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0


async def test_what_arrives_during_a_commit_is_the_next_batch(parts: Any, channel: AbstractChannel) -> None:
    gate = Gate(parts, is_open=False)
    consumer = gate.consumer(max_batch=50)
    assert consumer.healthy() == "not running"
    envelopes = [cancelled() for _ in range(121)]
    async with running(consumer):
        assert consumer.healthy() is None
        assert await consumer.check() is None
        await send(channel, parts.queue, envelopes[0])
        await asyncio.wait_for(gate.entered.wait(), 60)
        for envelope in envelopes[1:]:
            await send(channel, parts.queue, envelope)
        await eventually(lambda: len(consumer._arrived) == 120)
        gate.opened.set()
        await gate.until(*envelopes)
        assert gate.sizes == [1, 50, 50, 20]
    assert consumer.healthy() == "not running"
    assert await waiting(channel, parts.queue) == 0


async def test_each_has_its_effect_once_however_often_it_is_delivered(parts: Any, channel: AbstractChannel) -> None:
    gate, envelopes = Gate(parts), [cancelled() for _ in range(3)]
    async with running(gate.consumer()):
        for envelope in [*envelopes, *envelopes, cancelled(BEAST)]:
            await send(channel, parts.queue, envelope)
        # Behind all of them in the queue.
        await next_message(channel, f"{parts.queue}.dead")
        await gate.until(*envelopes)


async def test_bad_messages_fail_alone_and_each_goes_where_it_belongs(parts: Any, channel: AbstractChannel) -> None:
    gate = Gate(parts, is_open=False)
    first, good = cancelled(), [cancelled(), cancelled()]
    async with running(consumer := gate.consumer()):
        await send(channel, parts.queue, first)
        await asyncio.wait_for(gate.entered.wait(), 60)
        await send(channel, parts.queue, good[0])
        await send(channel, parts.queue, b"no envelope")
        await send(channel, parts.queue, cancelled(BEAST))
        await send(channel, parts.queue, good[1], headers={ATTEMPT_HEADER: 5})
        await send(channel, parts.queue, cancelled().model_copy(update={"data": {"post_id": "no"}}))
        await send(channel, parts.queue, cancelled(), user_id=None)
        await eventually(lambda: len(consumer._arrived) == 6)
        gate.opened.set()
        dead = [await next_message(channel, f"{parts.queue}.dead") for _ in range(4)]
        await gate.until(first, *good)
    reasons = sorted(str(message.headers["x-cuepost-reason"])[:15] for message in dead)
    assert reasons == ["data of publish", "it came by the ", "not an envelope", "number of the b"]
    assert {message.headers[ATTEMPT_HEADER] for message in dead} == {1}
    # All together, then one by one.
    assert gate.sizes == [1, 3, 1, 1, 1]


async def test_a_passing_failure_goes_to_a_retry_tier_with_its_attempt_counted(parts: Any, channel: AbstractChannel) -> None:
    gate, envelope = Gate(parts), cancelled()
    gate.failures = [Transient("later")]
    async with running(gate.consumer()):
        await send(channel, parts.queue, envelope)
        await gate.until(envelope)
    assert gate.sizes == [1, 1]


async def test_a_message_that_kills_its_consumers_is_passed_on_in_time(parts: Any, channel: AbstractChannel) -> None:
    gate, envelope = Gate(parts), cancelled()
    async with running(gate.consumer()):
        await send(channel, parts.queue, envelope, headers={"x-delivery-count": HANDLED_DELIVERIES})
        dead = await next_message(channel, f"{parts.queue}.dead")
    assert str(dead.headers["x-cuepost-reason"]).startswith(f"delivered {HANDLED_DELIVERIES} times before")
    assert gate.sizes == []


async def test_without_a_database_a_batch_waits_whole_and_costs_no_attempt(
    parts: Any, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.messaging.patience.FIRST_PAUSE_S", 0.001)
    gate = Gate(parts, is_open=False)
    envelopes = [cancelled() for _ in range(4)]
    async with running(consumer := gate.consumer()):
        await send(channel, parts.queue, envelopes[0])
        await asyncio.wait_for(gate.entered.wait(), 60)
        for envelope in envelopes[1:]:
            await send(channel, parts.queue, envelope)
        await eventually(lambda: len(consumer._arrived) == 3)
        gate.failures = [OSError("connection refused") for _ in range(8)]
        gate.opened.set()
        await gate.until(*envelopes)
    assert gate.sizes == [*[1] * 9, 3]


async def test_without_an_inbox_redeliveries_are_handled_again(parts: Any) -> None:
    gate, envelope = Gate(parts), cancelled()
    handler = gate.handler(with_inbox=False)
    message = handler.read(envelope.to_bytes(), envelope.key)
    assert await handler.handle([message, message]) == [None, None]
    assert await handler.handle([message]) == [None]
    assert await handler.handle([]) == []
    assert gate.sizes == [1, 1]


async def test_all_known_already_is_nothing_to_do(parts: Any) -> None:
    gate = Gate(parts)
    handler = gate.handler()
    message = handler.read(cancelled().to_bytes(), parts.queue)
    assert await handler.handle([message]) == [None]
    assert await handler.handle([message]) == [None]
    assert gate.sizes == [1]


def test_a_message_by_the_key_of_another_is_refused() -> None:
    handler = BatchHandler("a.queue", Mock(), None, decode=decode, handle=AsyncMock())
    envelope = cancelled()
    assert handler.read(envelope.to_bytes(), envelope.key) == handler.read(envelope.to_bytes(), "a.queue")
    with pytest.raises(Permanent, match="it came as scheduler"):
        handler.read(envelope.to_bytes(), "scheduler.post.due.v1")


async def test_stopping_finishes_what_has_arrived(parts: Any, channel: AbstractChannel) -> None:
    gate = Gate(parts, is_open=False)
    consumer, envelopes = gate.consumer(max_batch=1), [cancelled() for _ in range(3)]
    await consumer.start()
    for envelope in envelopes:
        await send(channel, parts.queue, envelope)
    await asyncio.wait_for(gate.entered.wait(), 60)
    await eventually(lambda: len(consumer._arrived) == 2)
    stopping = asyncio.create_task(consumer.stop())
    late = cancelled()
    await eventually(lambda: consumer._stopping)
    await send(channel, parts.queue, late)
    gate.opened.set()
    await asyncio.wait_for(stopping, 60)
    await gate.until(*envelopes)
    assert Envelope.model_validate_json((await next_message(channel, parts.queue)).body).id == late.id


async def test_stopped_in_mid_commit_it_hands_back_all_and_a_later_one_handles_each_once(
    parts: Any, channel: AbstractChannel
) -> None:
    hanging, working = Gate(parts, is_open=False), Gate(parts)
    sent = [cancelled(), cancelled()]
    async with running(hanging.consumer(grace=0.2)):
        for envelope in sent:
            await send(channel, parts.queue, envelope)
        await asyncio.wait_for(hanging.entered.wait(), 60)
    assert await parts.effects_seen() == []
    async with running(working.consumer()):
        await working.until(*sent)


async def test_a_dead_letter_that_no_broker_confirms_holds_up_no_other(
    parts: Any, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(parts.publisher, "publish", refuse)
    gate, good = Gate(parts), [cancelled(), cancelled()]
    async with running(consumer := gate.consumer(grace=0.2)):
        await send(channel, parts.queue, good[0])
        await send(channel, parts.queue, cancelled(BEAST))
        await send(channel, parts.queue, good[1])
        await gate.until(*good)
        assert len(consumer._settling) == 1
    # Given up at the stop, unacknowledged: it comes again.
    monkeypatch.undo()
    async with running(gate.consumer()):
        await next_message(channel, f"{parts.queue}.dead")


async def test_a_lost_connection_gives_everything_back_and_each_is_handled_once(
    parts: Any, channel: AbstractChannel, rabbitmq_url: str
) -> None:
    """Cut during a commit: its acknowledgement is lost, what waited behind is forgotten, and all comes again."""
    gate = Gate(parts, is_open=False)
    envelopes = [cancelled() for _ in range(5)]
    async with tcp_gate(rabbitmq_url) as (way, address):
        consumer = gate.consumer(url=SecretStr(address), max_batch=2)
        async with running(consumer):
            for envelope in envelopes:
                await send(channel, parts.queue, envelope)
            await asyncio.wait_for(gate.entered.wait(), 60)
            way.cut()
            await eventually(lambda: not consumer._arrived)
            assert await consumer.check() is not None
            gate.opened.set()
            way.mend()
            await gate.until(*envelopes)
            await eventually(lambda: _is_empty(channel, parts.queue))


async def _is_empty(channel: AbstractChannel, queue: str) -> bool:
    return await waiting(channel, queue) == 0


async def test_its_queue_deleted_under_it_is_made_again(parts: Any, channel: AbstractChannel) -> None:
    gate, envelope = Gate(parts), cancelled()
    async with running(consumer := gate.consumer()):
        before = consumer._link._session
        await channel.queue_delete(parts.queue)

        async def on_another_connection() -> bool:
            return consumer._link._session is not before and await consumer.check() is None

        await eventually(on_another_connection)
        await send(channel, parts.queue, envelope)
        await gate.until(envelope)


async def test_a_body_of_many_frames_arrives_whole(parts: Any, channel: AbstractChannel) -> None:
    gate = Gate(parts)
    envelope = cancelled()
    envelope.data["padding"] = "x" * 400_000
    async with running(gate.consumer()):
        await send(channel, parts.queue, envelope)
        await gate.until(envelope)


async def test_stopping_before_the_start_is_harmless(parts: Any) -> None:
    await Gate(parts).consumer().stop()


async def test_an_event_goes_from_the_outbox_to_its_effect(parts: Any, channel: AbstractChannel) -> None:
    gate, envelope = Gate(parts), cancelled()
    spec = events_queue(parts.queue, envelope.key)
    consumer = BatchConsumer(parts.amqp_url, parts.redelivery, gate.handler(), spec, service="test", grace=5.0)
    async with running(parts.relay, consumer):
        async with parts.database.transaction() as tx:
            await parts.outbox.emit_all(tx, [envelope])
        await gate.until(envelope)
        # RabbitMQ asks no right of these two ways to a key of somebody else.
        forge, forged = f"{parts.queue}.forge", aio_pika.Message(cancelled().to_bytes())
        own = await channel.declare_exchange(forge, "topic", auto_delete=True)
        await (await channel.get_exchange(EVENTS.name)).bind(own, envelope.key)
        await own.publish(forged, envelope.key)
        dead_letters = {"x-message-ttl": 1, "x-dead-letter-exchange": EVENTS.name, "x-dead-letter-routing-key": envelope.key}
        await channel.declare_queue(forge, exclusive=True, arguments=dead_letters)
        await channel.default_exchange.publish(forged, forge)
        dead = [await next_message(channel, f"{parts.queue}.dead") for _ in range(2)]
        await channel.exchange_delete(forge)
    reasons = {str(message.headers["x-cuepost-reason"]) for message in dead}
    assert reasons == {f"it came through the exchange {forge}", "it came as the dead letter of another queue"}
    assert await gate.seen() == [str(envelope.id)]


async def test_what_still_arrives_over_a_given_up_connection_is_not_taken(parts: Any) -> None:
    """Its tags would be those of other messages on the next one."""
    async with running(consumer := Gate(parts).consumer()):
        session = consumer._link._session
        assert session is not None
        session.lost.set()
        consumer._link._hear(session, [Delivery(parts.queue, 1, "k", bytes(14), b"late")])
        assert not consumer._arrived


async def test_where_nobody_is_in_a_hurry_a_batch_waits_for_more(parts: Any, channel: AbstractChannel) -> None:
    gate, envelopes = Gate(parts), [cancelled() for _ in range(4)]
    async with running(consumer := gate.consumer(linger=0.5, max_batch=3)):
        for envelope in envelopes:
            await send(channel, parts.queue, envelope)
        await gate.until(*envelopes)
        # A full batch does not wait.
        assert gate.sizes == [3, 1]
        await consumer.stop()


async def test_a_connection_lost_while_a_batch_waits_for_more_leaves_none(parts: Any, channel: AbstractChannel) -> None:
    gate, envelope = Gate(parts), cancelled()
    async with running(consumer := gate.consumer(linger=0.2)):
        await send(channel, parts.queue, envelope)
        await eventually(lambda: len(consumer._arrived) == 1, interval=0.001)
        session = consumer._link._session
        assert session is not None
        consumer._link._link.drop(session)
        await gate.until(envelope)
    assert gate.sizes == [1]
