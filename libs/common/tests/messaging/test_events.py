"""Events from outbox to effect on real servers: once each, whatever is delivered twice, fails or is no envelope at all."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from sqlalchemy import func, select

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishCancelled
from common.database.database import Transaction
from common.errors import Transient
from common.messaging import topology
from common.messaging.events import handle_events
from common.messaging.incoming import Incoming
from common.messaging.routes import on_event
from common.messaging.topology import Binding, QueueSpec, RetryTier, events_queue
from common.testing.amqp import broker_channel, next_message, running, send
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


def cancelled(attempt: int = 1) -> Envelope:
    event = PublishCancelled(post_id=uuid4(), attempt=attempt, job_id=uuid4(), account_id=uuid4(), replica="r1")
    return wrap(event, service="publisher", subject=str(event.post_id), context=Context.of_service("publisher"), sequence=1)


class Recorder:
    """A handler that commits an effect per event and lets tests wait for a count of them."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        self.calls = 0
        self.fail_with: list[Exception] = []
        self.changed = asyncio.Condition()

    async def handle(self, tx: Transaction, event: PublishCancelled, envelope: Envelope) -> None:
        self.calls += 1
        await self.parts.effect(tx, str(envelope.id))
        if self.fail_with:
            raise self.fail_with.pop(0)
        tx.after_commit(self.notify)

    def notify(self) -> None:
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, count: int) -> None:
        async def enough() -> None:
            async with self.changed:
                while len(await self.parts.effects_seen()) < count:
                    await self.changed.wait()

        await asyncio.wait_for(enough(), 60)


@pytest.fixture
def recorder(parts: Any) -> Recorder:
    return Recorder(parts)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tiers are the one-second tier, so that a message goes through all attempts within a test's time."""
    tiers = topology.RETRY_TIERS[:1]
    monkeypatch.setattr(topology, "RETRY_TIERS", tiers)


def consume_one_by_one(parts: Any, recorder: Recorder) -> Any:
    consumer = parts.consumer()
    spec = events_queue(parts.queue, f"{parts.queue}.#")
    consumer.subscribe(spec, handle_events(parts.database, parts.inbox, [on_event(PublishCancelled, recorder.handle)]))
    return consumer


async def test_an_event_leaves_the_outbox_and_has_its_effect_once(parts: Any, recorder: Recorder, rabbitmq_url: str) -> None:
    consumer = parts.consumer()
    spec = events_queue(parts.queue, "publisher.publish.cancelled.v1")
    consumer.subscribe(spec, handle_events(parts.database, parts.inbox, [on_event(PublishCancelled, recorder.handle)]))
    async with running(parts.relay, consumer):
        envelope = cancelled()
        async with parts.database.transaction() as tx:
            await parts.outbox.emit_all(tx, [envelope])
        await recorder.until(1)
        async with broker_channel(rabbitmq_url) as channel:
            await send(channel, parts.queue, envelope)
            await send(channel, parts.queue, second := cancelled())
        await recorder.until(2)
    assert await parts.effects_seen() == [str(envelope.id), str(second.id)]
    assert await parts.relay.backlog() == 0


async def test_of_each_queue_as_many_are_in_hand_as_it_says(parts: Any, rabbitmq_url: str) -> None:
    consumer = parts.consumer()
    under_way = {"few": 0, "many": 0}
    go_on = asyncio.Event()

    async def handle(incoming: Incoming) -> None:
        under_way[incoming.queue.removeprefix(f"{parts.queue}.")] += 1
        await go_on.wait()
        async with parts.database.transaction() as tx:
            await parts.effect(tx, incoming.queue)

    for name, prefetch in (("few", 2), ("many", 4)):
        consumer.subscribe(events_queue(f"{parts.queue}.{name}", prefetch=prefetch), handle)
    async with running(consumer), broker_channel(rabbitmq_url) as channel:
        for _ in range(5):
            await send(channel, f"{parts.queue}.few", b"x")
        await eventually(lambda: under_way["few"] == 2, 60)
        for _ in range(4):
            await send(channel, f"{parts.queue}.many", b"x")
        await eventually(lambda: under_way["many"] == 4, 60)
        assert under_way["few"] == 2
        go_on.set()

        async def all_are_through() -> bool:
            return len(await parts.effects_seen()) == 9

        await eventually(all_are_through, 60)


async def test_a_queue_takes_its_bindings_from_the_one_that_had_them(parts: Any, rabbitmq_url: str) -> None:
    """After an upgrade what is sent comes to the new queue alone; what waits in the old one is still handled."""
    old, new = f"{parts.queue}.old", f"{parts.queue}.new"
    binding = Binding(topology.EVENTS, f"{parts.queue}.*")
    handled: list[str] = []

    async def handle(incoming: Incoming) -> None:
        handled.append(f"{incoming.queue.removeprefix(parts.queue)} {incoming.body.decode()}")

    def consumer_of(*specs: QueueSpec) -> Any:
        consumer = parts.consumer()
        for spec in specs:
            consumer.subscribe(spec, handle)
        return consumer

    async with broker_channel(rabbitmq_url) as channel:
        exchange = await channel.declare_exchange(topology.EVENTS.name, type="topic", durable=True)

        async def publish(body: bytes) -> None:
            await exchange.publish(aio_pika.Message(body), routing_key=f"{parts.queue}.x")

        async with running(consumer_of(QueueSpec(old, (binding,)))):
            pass
        await publish(b"1")
        taking, rest = QueueSpec(new, (binding,), taken_from=old), QueueSpec(old, ())
        async with running(consumer_of(taking)):
            await publish(b"2")
            await eventually(lambda: handled == [".new 2"], 60)
        async with running(consumer_of(rest)):
            await eventually(lambda: handled == [".new 2", ".old 1"], 60)
        assert (await channel.declare_queue(old, passive=True)).declaration_result.message_count == 0


async def test_a_rolled_back_transaction_tells_nothing(parts: Any) -> None:
    async def fail_after_emitting() -> None:
        async with parts.database.transaction() as tx:
            await parts.outbox.emit_all(tx, [cancelled()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_emitting()
    assert await parts.relay.backlog() == 0


async def test_what_a_crash_left_in_the_outbox_is_swept(parts: Any, rabbitmq_url: str) -> None:
    envelope = cancelled().model_copy(update={"time": datetime(2026, 11, 21, 7, tzinfo=UTC)})
    async with parts.database.transaction() as tx:
        await parts.outbox.emit_all(tx, [envelope])
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue(f"{parts.queue}.x", exclusive=True)
        await queue.bind("cuepost.events", envelope.key)
        async with running(parts.relay):
            message = await next_message(channel, queue.name)
    assert Envelope.model_validate_json(message.body).id == envelope.id
    assert message.message_id != str(envelope.id)
    assert (message.type, message.timestamp) == (envelope.type, envelope.time)


async def test_two_relays_publish_each_row_once(parts: Any, rabbitmq_url: str) -> None:
    from common.messaging.relay import Relay

    other = Relay(parts.database, parts.outbox_table, parts.publisher, batch=20)
    parts_relay = Relay(parts.database, parts.outbox_table, parts.publisher, batch=20)
    envelopes = [cancelled() for _ in range(200)]
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue(f"{parts.queue}.x", exclusive=True)
        await queue.bind("cuepost.events", "publisher.publish.cancelled.v1")
        async with parts.database.transaction() as tx:
            await parts.outbox.emit_all(tx, envelopes)
        async with running(other, parts_relay):
            ids = [Envelope.model_validate_json((await next_message(channel, queue.name)).body).id for _ in envelopes]
        assert sorted(ids) == sorted(envelope.id for envelope in envelopes)
        assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 0


async def test_no_envelope_becomes_a_dead_letter_with_the_reason(parts: Any, recorder: Recorder, rabbitmq_url: str) -> None:
    async with running(consume_one_by_one(parts, recorder)), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, b'{"specversion": "1.0", "secret": "hunter2"}')
        dead = await next_message(channel, f"{parts.queue}.dead")
        await send(channel, parts.queue, b"\xff\x00 not json")
        dead_too = await next_message(channel, f"{parts.queue}.dead")
    assert dead.headers["x-cuepost-reason"] == "not an envelope: id, type, source, subject, time, data"
    assert dead.headers["x-cuepost-queue"] == parts.queue
    assert b"hunter2" in dead.body
    assert dead_too.headers["x-cuepost-reason"] == "not an envelope: body"
    assert dead_too.body == b"\xff\x00 not json"


async def test_invalid_data_and_a_forged_key_become_dead_letters_with_the_reason(
    parts: Any, recorder: Recorder, rabbitmq_url: str
) -> None:
    envelope = cancelled().model_copy(update={"data": {"post_id": "no"}})
    async with running(consume_one_by_one(parts, recorder)), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, envelope)
        dead = await next_message(channel, f"{parts.queue}.dead")
        # By a key of its own, with a queue's in a header: the broker's rights are asked about the former alone.
        exchange = await channel.get_exchange(topology.EVENTS.name)
        forged = aio_pika.Message(cancelled().to_bytes(), headers={"CC": [f"{parts.queue}.x"]})
        await exchange.publish(forged, routing_key="analytics.own")
        refused = await next_message(channel, f"{parts.queue}.dead")
    assert "post_id" in str(dead.headers["x-cuepost-reason"])
    assert str(refused.headers["x-cuepost-reason"]).startswith("it came as analytics.own")
    assert await parts.effects_seen() == []


async def test_a_passing_failure_is_tried_again_and_leaves_one_effect(
    parts: Any, recorder: Recorder, rabbitmq_url: str
) -> None:
    recorder.fail_with = [Transient("later")]
    envelope = cancelled()
    async with running(consume_one_by_one(parts, recorder)), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, envelope)
        await recorder.until(1)
    assert recorder.calls == 2
    assert await parts.effects_seen() == [str(envelope.id)]


@pytest.mark.usefixtures("quick_retries")
async def test_a_message_that_always_fails_ends_as_a_dead_letter(parts: Any, recorder: Recorder, rabbitmq_url: str) -> None:
    recorder.fail_with = [ValueError("a value that may be secret") for _ in range(topology.MAX_ATTEMPTS)]
    async with running(consume_one_by_one(parts, recorder)), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, cancelled())
        dead = await next_message(channel, f"{parts.queue}.dead", timeout=30)
    assert dead.headers["x-cuepost-attempt"] == topology.MAX_ATTEMPTS == recorder.calls
    assert dead.headers["x-cuepost-reason"] == "ValueError"
    assert await parts.effects_seen() == []


async def test_an_unknown_type_is_acknowledged(parts: Any, recorder: Recorder, rabbitmq_url: str) -> None:
    async with running(consume_one_by_one(parts, recorder)), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, cancelled().model_copy(update={"type": "cuepost.publisher.publish.cancelled.v2"}))
        await send(channel, parts.queue, cancelled())
        await recorder.until(1)
        dead = await channel.declare_queue(f"{parts.queue}.dead", passive=True)
        assert dead.declaration_result.message_count == 0


async def test_a_database_that_is_away_costs_no_attempt(parts: Any, recorder: Recorder, rabbitmq_url: str) -> None:
    recorder.fail_with = [OSError("connection refused") for _ in range(topology.MAX_ATTEMPTS + 2)]
    envelope = cancelled()
    async with running(consume_one_by_one(parts, recorder)), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, envelope)
        await recorder.until(1)
    assert recorder.calls == topology.MAX_ATTEMPTS + 3
    assert await parts.effects_seen() == [str(envelope.id)]


async def test_readiness_is_red_without_the_consumer_and_heals(parts: Any, recorder: Recorder, rabbitmq_url: str) -> None:
    from common.testing.eventually import eventually

    consumer = consume_one_by_one(parts, recorder)
    assert await consumer.check() == "not connected"
    async with running(consumer), broker_channel(rabbitmq_url) as channel:
        assert await consumer.check() is None
        with_queue = consumer._link._session
        await channel.queue_delete(parts.queue)
        await eventually(with_queue.lost.is_set)

        async def green() -> bool:
            return await consumer.check() is None

        await eventually(green)
        await send(channel, parts.queue, cancelled())
        await recorder.until(1)


async def test_stopping_hands_back_what_is_in_hand(parts: Any, rabbitmq_url: str) -> None:
    entered = asyncio.Event()

    async def hang(tx: Transaction, event: PublishCancelled, envelope: Envelope) -> None:
        await parts.effect(tx, str(envelope.id))
        entered.set()
        await asyncio.Event().wait()

    consumer = parts.consumer(grace=0.2)
    consumer.subscribe(
        events_queue(parts.queue), handle_events(parts.database, parts.inbox, [on_event(PublishCancelled, hang)])
    )
    envelope = cancelled()
    async with broker_channel(rabbitmq_url) as channel:
        async with running(consumer):
            await send(channel, parts.queue, envelope)
            await asyncio.wait_for(entered.wait(), 60)
        message = await next_message(channel, parts.queue)
    assert Envelope.model_validate_json(message.body).id == envelope.id
    assert await parts.effects_seen() == []


async def test_the_inbox_forgets_after_its_retention(parts: Any) -> None:
    from datetime import timedelta

    async with parts.database.transaction() as tx:
        assert await parts.inbox.first_time(tx, "q", cancelled().id)
    async with parts.database.transaction() as tx:
        assert await parts.inbox.prune(tx, timedelta(days=7)) == 0
        assert await parts.inbox.prune(tx, timedelta(days=-1)) == 1
        count = await tx.connection.scalar(select(func.count()).select_from(parts.inbox_table))
    assert count == 0


def test_tiers_grow_and_the_last_serves_all_later_attempts() -> None:
    assert [topology.retry_tier(attempt).name for attempt in (1, 2, 3, 4, 5, 6)] == ["1s", "5s", "30s", "5m", "5m", "5m"]
    assert isinstance(topology.retry_tier(99), RetryTier)
