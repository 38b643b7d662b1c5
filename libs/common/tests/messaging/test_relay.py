"""The relay at its hard moments, on a real broker: refused, silent, cut. Nothing is lost, nothing stops the others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import insert, select

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishCancelled
from common.ids import uuid7
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from common.messaging.wire.frames import Confirm
from common.testing.amqp import broker_channel, next_message, running
from common.testing.eventually import eventually
from common.testing.tcp_gate import TcpGate, tcp_gate

pytestmark = pytest.mark.integration


def event() -> Envelope:
    cancelled = PublishCancelled(post_id=uuid4(), attempt=1, job_id=uuid4(), account_id=uuid4(), replica="r1")
    return wrap(cancelled, service="publisher", subject=str(uuid4()), context=Context.of_service("publisher"))


async def told(parts: Any, *envelopes: Envelope) -> None:
    async with parts.database.transaction() as tx:
        await parts.outbox.emit_all(tx, envelopes)


async def left(parts: Any) -> list[tuple[Any, ...]]:
    table = parts.outbox_table
    async with parts.database.read() as connection:
        rows = await connection.execute(select(table.c.id, table.c.refusals, table.c.not_before).order_by(table.c.id))
        return [tuple(row) for row in rows]


async def received(channel: AbstractChannel, queue: str, number: int) -> list[Any]:
    bodies = [(await next_message(channel, queue)).body for _ in range(number)]
    return sorted(Envelope.model_validate_json(body).id for body in bodies)


@pytest.fixture
async def heard(parts: Any, rabbitmq_url: str) -> AsyncIterator[tuple[AbstractChannel, str]]:
    """Declare a queue that hears every event of `event()`."""
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue(f"{parts.queue}.x", exclusive=True)
        await queue.bind("cuepost.events", event().key)
        yield channel, queue.name


@pytest.fixture
async def gated(parts: Any, rabbitmq_url: str) -> AsyncIterator[tuple[Relay, MessagePublisher, TcpGate]]:
    """Make a relay whose way to the broker leads through a gate."""
    async with tcp_gate(rabbitmq_url) as (gate, address):
        publisher = MessagePublisher(SecretStr(address), service="test")
        relay = Relay(parts.database, parts.outbox_table, publisher)
        async with running(publisher):
            yield relay, publisher, gate


@pytest.mark.parametrize("bad", ["refused by its queue", "no such exchange", "a key too long"])
async def test_a_message_that_cannot_be_published_holds_up_no_other(parts: Any, heard: Any, bad: str) -> None:
    channel, queue = heard
    key = "k" * 256 if bad == "a key too long" else f"publisher.bad.{uuid4().hex}"
    row = {"id": uuid7(), "exchange": "cuepost.events", "routing_key": key, "body": b"{}"}
    if bad == "no such exchange":
        row["exchange"] = "no.such.exchange"
    if bad == "refused by its queue":
        full = await channel.declare_queue(
            f"{parts.queue}.full", exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await full.bind("cuepost.events", key)
    good = [event() for _ in range(3)]
    sent = told_sent(good[0].key)
    async with parts.database.transaction() as tx:
        await tx.connection.execute(insert(parts.outbox_table).values(row))
        await parts.outbox.emit_all(tx, good)
    assert parts.relay.warning() is None
    async with running(parts.relay):
        assert await received(channel, queue, 3) == sorted(one.id for one in good)
        assert parts.relay.healthy() is None
        # It is put off for a second first, then for longer and longer.
        await eventually(lambda: _has_refusals(parts, 2))
        assert parts.relay.warning() == "RabbitMQ refuses messages (1 at the last try): they are sent again"
    assert (told_sent(good[0].key), told_sent(key)) == (sent + 3, 0)
    [(identity, _, not_before)] = await left(parts)
    assert identity == row["id"]
    assert not_before is not None


def told_sent(key: str) -> float:
    """Return how many messages of a routing key were sent, as Prometheus is told."""
    return REGISTRY.get_sample_value("cuepost_relay_sent_total", {"key": key}) or 0.0


async def _has_refusals(parts: Any, number: int) -> bool:
    return [refusals for _, refusals, _ in await left(parts)] == [number]


async def test_a_broker_that_does_not_answer_keeps_nothing_and_loses_nothing(
    parts: Any, heard: Any, gated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears and acts, and nobody learns of it: every row stays until a confirm came."""
    monkeypatch.setattr("common.messaging.relay.CONFIRM_TIMEOUT_S", 0.3)
    relay, _, gate = gated
    channel, queue = heard
    one = event()
    gate.answering.clear()
    async with running(relay):
        await told(parts, one)
        assert await received(channel, queue, 1) == [one.id]
        await eventually(lambda: relay._loop._failures > 0)
        assert [identity for identity, _, _ in await left(parts)] == [one.id]
        gate.cut()
        gate.mend()
        await eventually(lambda: _is_empty(parts))
    # Told once more, under the same id: that is what consumers know it by.
    assert await received(channel, queue, 1) == [one.id]


async def test_what_a_silent_broker_was_not_told_is_told_once_it_is_back(
    parts: Any, heard: Any, gated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing passes in either direction: what waits to be sent is dropped with the connection, not sent late."""
    monkeypatch.setattr("common.messaging.relay.CONFIRM_TIMEOUT_S", 0.3)
    relay, _, gate = gated
    channel, queue = heard
    envelopes = [event() for _ in range(5)]
    gate.open.clear()
    async with running(relay):
        await told(parts, *envelopes)
        await eventually(lambda: relay._loop._failures > 0)
        gate.cut()
        gate.mend()
        await eventually(lambda: _is_empty(parts))
    assert await received(channel, queue, 5) == sorted(one.id for one in envelopes)


async def test_a_batch_of_which_only_one_was_confirmed_keeps_the_others(
    parts: Any, heard: Any, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, queue = heard
    envelopes = sorted([event(), event(), event()], key=lambda one: one.id)
    publisher: Any = MessagePublisher(SecretStr(rabbitmq_url), service="test")
    hear = publisher._confirms.hear

    def hear_one_and_be_cut_off(_: object) -> None:
        hear([Confirm(1, multiple=False, is_taken=True)])
        publisher._link.drop(publisher._link._session)

    monkeypatch.setattr(publisher._confirms, "hear", hear_one_and_be_cut_off)
    relay = Relay(parts.database, parts.outbox_table, publisher)
    await told(parts, *envelopes)
    async with running(publisher):
        for unconfirmed in (envelopes[1:], envelopes[2:]):
            with pytest.raises(ConnectionError):
                await relay._step()
            assert [identity for identity, _, _ in await left(parts)] == [one.id for one in unconfirmed]
        await relay._step()
        assert await left(parts) == []
    counted = Counter(await received(channel, queue, 3 + 2 + 1))
    assert [counted[one.id] for one in envelopes] == [1, 2, 3]


async def _is_empty(parts: Any) -> bool:
    return await left(parts) == []


async def test_a_cut_connection_comes_back_and_waiting_publishes_go_through(parts: Any, heard: Any, gated: Any) -> None:
    relay, publisher, gate = gated
    channel, queue = heard
    gate.cut()
    await eventually(publisher.check)
    one = event()
    async with running(relay):
        await told(parts, one)
        gate.mend()
        assert await received(channel, queue, 1) == [one.id]
        await eventually(lambda: _is_empty(parts))
    assert await publisher.check() is None


async def test_stopped_in_mid_batch_it_puts_everything_back(parts: Any, gated: Any) -> None:
    relay, _, gate = gated
    one = event()
    gate.answering.clear()
    await told(parts, one)
    step = asyncio.create_task(relay._step())
    await eventually(lambda: _is_claimed(parts))
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert [identity for identity, _, _ in await left(parts)] == [one.id]


async def _is_claimed(parts: Any) -> bool:
    table = parts.outbox_table
    async with parts.database.read() as connection:
        return (await connection.execute(select(table.c.id).with_for_update(skip_locked=True))).all() == []


async def test_waiting_for_a_message_ends_with_the_brokers_word(parts: Any, gated: Any) -> None:
    """Not with the bytes on their way; messages of other keys, and later ones, are not waited for."""
    relay, _, gate = gated
    waited, other = event(), event()
    async with running(relay):
        assert await relay.wait_until_sent([waited.key], patience=60), "nothing to wait for"
        gate.answering.clear()
        await told(parts, waited)
        waiting = asyncio.create_task(relay.wait_until_sent([waited.key], patience=60))
        assert not await relay.wait_until_sent([waited.key], patience=0.3)
        assert await relay.wait_until_sent(["publisher.other.v1"], patience=60)
        assert not waiting.done()
        gate.answering.set()
        assert await waiting
    await told(parts, other)
    assert not await relay.wait_until_sent([other.key], patience=0.1), "this one's relay has ended"
    assert not await relay.wait_until_sent([other.key], patience=0.1, only=other.id)
    assert await relay.wait_until_sent([other.key], patience=60, only=waited.id), "no other is waited for"
    async with parts.database.transaction() as tx:
        await tx.connection.execute(parts.outbox_table.delete())
    assert await relay.wait_until_sent([other.key], patience=60), "another replica's relay has sent it"
