"""Who asks in a queue is told so when everything before the question was handled, by each consumer for itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from asyncpg.exceptions import QueryCanceledError
from pydantic import SecretStr

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishCancelled
from common.contracts.registry import parse
from common.errors import Transient
from common.messaging.assurance import Assurances
from common.messaging.batch_consumer import BatchConsumer
from common.messaging.batches import BatchHandler
from common.messaging.dead_letters import Redelivery
from common.messaging.reply import Reply
from common.messaging.topology import COMMANDS, Binding, QueueSpec, held_back_in
from common.testing.amqp import broker_channel, next_message, running, send
from common.testing.eventually import eventually
from common.testing.tcp_gate import tcp_gate

pytestmark = pytest.mark.integration
KEY = "test.confirm_handled.v1"


def told() -> Envelope:
    event = PublishCancelled(post_id=uuid4(), attempt=1, job_id=uuid4(), account_id=uuid4(), replica="r1")
    return wrap(event, service="publisher", subject=str(event.post_id), context=Context.of_service("publisher"), sequence=1)


class Asking:
    """A consumer whose handler waits to be let through, and somebody who asks."""

    def __init__(self, parts: Any, channel: AbstractChannel, replies: str) -> None:
        self.parts, self.channel, self.replies = parts, channel, replies
        self.may_go_on, self.entered = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None

    async def handle(self, tx: Any, batch: Any) -> None:
        self.entered.set()
        await self.may_go_on.wait()
        if self.failure is not None:
            raise self.failure
        for _, envelope in batch:
            await self.parts.effect(tx, str(envelope.id))

    def consumer(self, url: SecretStr | None = None) -> BatchConsumer[PublishCancelled]:
        handler = BatchHandler(
            self.parts.queue,
            self.parts.database,
            None,
            decode=lambda envelope: parse(envelope, PublishCancelled),
            handle=self.handle,
        )
        return BatchConsumer(
            url or self.parts.amqp_url,
            Redelivery(self.parts.publisher, service="test", own_retries=True),
            handler,
            QueueSpec(self.parts.queue, (Binding(COMMANDS, KEY),), own_retries=True),
            service="test",
            assurances=Assurances(KEY, self.parts.publisher),
        )

    async def ask(self, correlation_id: str, **properties: Any) -> None:
        exchange = await self.channel.get_exchange(COMMANDS.name)
        message = aio_pika.Message(b"{}", **({"reply_to": self.replies, "correlation_id": correlation_id} | properties))
        await exchange.publish(message, routing_key=KEY, mandatory=True)

    async def answer(self) -> tuple[str | None, dict[str, Any]]:
        message = await next_message(self.channel, self.replies, timeout=60)
        return message.correlation_id, Reply.model_validate_json(message.body).body or {}


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    async with broker_channel(rabbitmq_url) as opened:
        yield opened


@pytest.fixture
async def asking(parts: Any, channel: AbstractChannel) -> Asking:
    replies = await channel.declare_queue(exclusive=True)
    return Asking(parts, channel, replies.name)


async def test_the_answer_comes_when_what_was_before_is_committed(
    parts: Any, channel: AbstractChannel, asking: Asking
) -> None:
    async with running(consumer := asking.consumer()):
        await send(channel, parts.queue, first := told())
        await asyncio.wait_for(asking.entered.wait(), 60)
        await send(channel, parts.queue, second := told())
        await asking.ask("one")
        await eventually(lambda: len(consumer._arrived) == 2)
        asking.may_go_on.set()
        correlation_id, body = await asking.answer()
        assert sorted(await parts.effects_seen()) == sorted([str(first.id), str(second.id)])
        assert (correlation_id, body["everything"]) == ("one", True)
        await asking.ask("two")
        assert await asking.answer() == ("two", body)


async def test_each_consumer_and_each_connection_has_a_name_of_its_own(
    parts: Any, channel: AbstractChannel, asking: Asking, rabbitmq_url: str
) -> None:
    asking.may_go_on.set()
    async with tcp_gate(rabbitmq_url) as (way, address), running(consumer := asking.consumer(SecretStr(address))):
        await asking.ask("before")
        _, before = await asking.answer()
        session = consumer._link._session
        way.cut()
        way.mend()
        await eventually(lambda: consumer._link._session is not session)
        await asking.ask("after")
        _, after = await asking.answer()
    assert before["consumer"] != after["consumer"]


async def test_what_goes_to_a_retry_tier_is_not_handled(parts: Any, channel: AbstractChannel, asking: Asking) -> None:
    asking.may_go_on.set()
    asking.failure = Transient("not now")
    async with running(asking.consumer()):
        await send(channel, parts.queue, told())
        await asking.ask("one")
        assert (await asking.answer())[1]["everything"] is False


async def test_a_dead_letter_is_not_handled(parts: Any, channel: AbstractChannel, asking: Asking) -> None:
    async with running(asking.consumer()):
        await send(channel, parts.queue, b"no envelope")
        await asking.ask("one")
        assert (await asking.answer())[1]["everything"] is False
        await next_message(channel, f"{parts.queue}.dead", timeout=60)


async def test_what_was_sent_away_a_while_ago_is_for_others_to_find(
    parts: Any, channel: AbstractChannel, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not, as long as it is still on the way there."""
    monkeypatch.setattr("common.messaging.assurance.REMEMBERED_S", 0.0)
    entered, may_pass = asyncio.Event(), asyncio.Event()
    publish = parts.publisher.publish

    async def held_up(message: Any) -> None:
        if message.routing_key.endswith(".dead"):
            entered.set()
            await may_pass.wait()
        await publish(message)

    monkeypatch.setattr(parts.publisher, "publish", held_up)
    async with running(asking.consumer()):
        await send(channel, parts.queue, b"no envelope")
        await asyncio.wait_for(entered.wait(), 60)
        await asking.ask("meanwhile")
        assert (await asking.answer())[1]["everything"] is False
        may_pass.set()
        await next_message(channel, f"{parts.queue}.dead", timeout=60)
        await asking.ask("afterwards")
        _, body = await asking.answer()
        assert (body["everything"], body["failed"]) == (True, 1)


async def test_what_waits_for_another_try_is_in_a_queue_that_outlives_the_consumer(
    parts: Any, channel: AbstractChannel, asking: Asking
) -> None:
    """And comes back from there to the next one."""
    asking.may_go_on.set()
    asking.failure = Transient("not now", retry_after=5)
    waiting = f"{parts.queue}.retry.5s"
    async with running(asking.consumer()):
        await send(channel, parts.queue, event := told())

        async def waits() -> bool:
            return bool((await channel.declare_queue(waiting, passive=True)).declaration_result.message_count)

        await eventually(waits)
    assert waiting in held_back_in(parts.queue)
    asking.failure = None
    async with running(asking.consumer()):

        async def handled() -> bool:
            return await parts.effects_seen() == [str(event.id)]

        await eventually(handled, timeout=60)
    assert not await waits()


async def test_who_wants_no_answer_or_cannot_be_answered_holds_up_nobody(
    parts: Any, channel: AbstractChannel, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(asking.consumer()):
        await asking.ask("nobody", reply_to=None)
        with monkeypatch.context() as broken:
            refused = asyncio.Event()

            async def refuse(_: object) -> None:
                refused.set()
                raise TimeoutError

            broken.setattr(parts.publisher, "publish", refuse)
            await asking.ask("lost")
            await asyncio.wait_for(refused.wait(), 60)
        await asking.ask("last")
        assert (await asking.answer())[0] == "last"

        async def nothing_left() -> bool:
            declared = await channel.declare_queue(parts.queue, passive=True)
            return declared.declaration_result.message_count == 0

        await eventually(nothing_left)


async def test_a_busy_database_may_be_waited_for_in_place(parts: Any, monkeypatch: pytest.MonkeyPatch, asking: Asking) -> None:
    """More often than a message would be tried before it goes to a retry tier."""
    monkeypatch.setattr("common.messaging.patience.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("common.messaging.patience.wait_exponential_jitter", lambda **_: lambda _state: 0.001)
    failures = [QueryCanceledError("canceling statement due to lock timeout") for _ in range(20)]

    async def busy(tx: Any, batch: Any) -> None:
        if failures:
            raise failures.pop()
        for _, envelope in batch:
            await parts.effect(tx, str(envelope.id))

    handler = BatchHandler(
        parts.queue,
        parts.database,
        None,
        decode=lambda envelope: parse(envelope, PublishCancelled),
        handle=busy,
        busy_tries=1_000,
    )
    assert await handler.handle([handler.read(told().to_bytes(), parts.queue)]) == [None]
    assert failures == []
