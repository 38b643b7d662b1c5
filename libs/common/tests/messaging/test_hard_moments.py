"""Moments that stopped a consumer or relay for good once: each is survived, and nothing is lost."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError
from asyncpg.exceptions import AdminShutdownError, QueryCanceledError
from faststream.rabbit import RabbitExchange
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishCancelled
from common.database.database import Transaction
from common.database.failures import is_database_away, is_database_busy
from common.errors import Permanent, Transient
from common.messaging import patience, topology
from common.messaging.events import handle_events
from common.messaging.publisher import Outgoing
from common.messaging.routes import on_event
from common.messaging.topology import events_queue, retry_tier
from common.testing.amqp import broker_channel, next_message, running, send
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


def cancelled() -> Envelope:
    event = PublishCancelled(post_id=uuid4(), attempt=1, job_id=uuid4(), account_id=uuid4(), replica="r1")
    return wrap(event, service="publisher", subject=str(event.post_id), context=Context.of_service("publisher"))


def failing_once(publisher: Any, *errors: BaseException) -> None:
    """Make the next publishes of a message publisher fail with these errors, then work again."""
    original, left = publisher._send, list(errors)

    async def send(message: Outgoing) -> None:
        if left:
            raise left.pop(0)
        await original(message)

    publisher._send = send


async def test_a_confirm_cancelled_by_the_client_library_is_a_lost_connection(parts: Any) -> None:
    failing_once(parts.publisher, asyncio.CancelledError())
    with pytest.raises(ConnectionError):
        await parts.publisher.publish(Outgoing(body=b"x", routing_key="nowhere"))


async def test_cancelling_the_publishing_task_still_cancels_it(parts: Any) -> None:
    entered = asyncio.Event()

    async def hang(_: Outgoing) -> None:
        entered.set()
        await asyncio.Event().wait()

    parts.publisher._send = hang
    task = asyncio.create_task(parts.publisher.publish(Outgoing(body=b"x", routing_key="nowhere")))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_publish_that_closes_its_channel_costs_one_connection_and_no_more(parts: Any, rabbitmq_url: str) -> None:
    missing = RabbitExchange(f"missing.{uuid4().hex}")
    with pytest.raises(ChannelNotFoundEntity):
        await parts.publisher.publish(Outgoing(body=b"x", routing_key="k", exchange=missing))
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue(f"{parts.queue}.x", exclusive=True)
        await eventually(lambda: _reaches(parts, queue.name))
        assert (await next_message(channel, queue.name)).body == b"y"


async def _reaches(parts: Any, queue: str) -> bool:
    try:
        await parts.publisher.publish(Outgoing(body=b"y", routing_key=queue, mandatory=True))
    except (AMQPError, OSError):
        return False
    return True


async def test_a_single_message_that_its_queue_refuses_is_told_as_such(parts: Any, rabbitmq_url: str) -> None:
    async with broker_channel(rabbitmq_url) as channel:
        full = {"x-max-length": 0, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue(f"{parts.queue}.full", exclusive=True, arguments=full)
        with pytest.raises(DeliveryError):
            await parts.publisher.publish(Outgoing(body=b"x", routing_key=queue.name))


async def test_a_single_message_keeps_its_properties(parts: Any, rabbitmq_url: str) -> None:
    outgoing = Outgoing(
        body=b"x", routing_key=f"{parts.queue}.x", correlation_id="c", reply_to="r", persistent=False, headers={"h": 1}
    )
    async with broker_channel(rabbitmq_url) as channel:
        await channel.declare_queue(outgoing.routing_key, exclusive=True)
        await parts.publisher.publish(outgoing)
        message = await next_message(channel, outgoing.routing_key)
    assert (message.body, message.correlation_id, message.reply_to) == (b"x", "c", "r")
    assert (message.delivery_mode, message.headers) == (1, {"h": 1})
    assert message.message_id


async def test_a_message_without_a_queue_is_told_as_such(parts: Any) -> None:
    with pytest.raises(DeliveryError):
        await parts.publisher.publish(Outgoing(body=b"x", routing_key=f"nobody.{uuid4().hex}", mandatory=True))


async def test_a_failed_message_is_passed_on_once_the_broker_confirms_again(parts: Any, rabbitmq_url: str) -> None:
    async def never(tx: Transaction, event: PublishCancelled, envelope: Envelope) -> None:
        raise Permanent("never")

    consumer = parts.consumer()
    handle = handle_events(parts.database, parts.inbox, [on_event(PublishCancelled, never)])
    consumer.subscribe(events_queue(parts.queue, prefetch=1), handle)
    failing_once(parts.publisher, TimeoutError(), asyncio.CancelledError(), ConnectionError())
    first, second = cancelled(), cancelled()
    async with running(consumer), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, first)
        await send(channel, parts.queue, second)
        dead = [await next_message(channel, f"{parts.queue}.dead") for _ in range(2)]
    assert {Envelope.model_validate_json(message.body).id for message in dead} == {first.id, second.id}


def busy() -> DBAPIError:
    """Make a statement timeout as SQLAlchemy raises it."""
    driver = Exception("canceling statement due to statement timeout")
    driver.__cause__ = QueryCanceledError("canceling statement due to statement timeout")
    return DBAPIError("SELECT", None, driver)


async def test_a_statement_that_is_always_too_slow_costs_attempts(
    parts: Any, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "RETRY_TIERS", topology.RETRY_TIERS[:1])
    monkeypatch.setattr("common.messaging.dead_letters.MAX_ATTEMPTS", 1)
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    calls = 0

    async def slow(tx: Transaction, event: PublishCancelled, envelope: Envelope) -> None:
        nonlocal calls
        calls += 1
        raise busy()

    consumer = parts.consumer()
    consumer.subscribe(
        events_queue(parts.queue), handle_events(parts.database, parts.inbox, [on_event(PublishCancelled, slow)])
    )
    async with running(consumer), broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, cancelled())
        dead = await next_message(channel, f"{parts.queue}.dead")
    assert dead.headers["x-cuepost-error"] == "DBAPIError"
    assert calls == 1 + patience.BUSY_TRIES


def test_what_is_away_and_what_is_busy() -> None:
    gone = Exception("terminating connection")
    gone.__cause__ = AdminShutdownError("terminating connection due to administrator command")
    assert is_database_away(DBAPIError("SELECT", None, gone))
    assert is_database_away(DBAPIError("SELECT", None, Exception(), connection_invalidated=True))
    assert is_database_away(PoolTimeoutError())
    assert is_database_away(AdminShutdownError("x"))
    assert not is_database_away(busy())
    assert is_database_busy(busy())
    assert not is_database_busy(ValueError())
    assert not is_database_away(DBAPIError("SELECT", None, None))  # type: ignore[arg-type]


def test_a_tier_waits_as_long_as_asked() -> None:
    assert [retry_tier(1, at_least=seconds).name for seconds in (0.0, 1.0, 4.0, 20.0, 200.0, 9999.0)] == [
        "1s",
        "1s",
        "5s",
        "30s",
        "5m",
        "5m",
    ]
    assert retry_tier(3, at_least=1.0).name == "30s"
    assert [retry_tier(attempt, at_most=30.0).name for attempt in (1, 2, 3, 4, 99)] == ["1s", "5s", "30s", "30s", "30s"]
    assert retry_tier(9, at_most=0.1).name == "1s"
    assert Transient("later", retry_after=20.0).retry_after == 20.0
