"""Batches, and what asks the publisher, have queues of their own: they hold up no other command; an upgrade moves them there."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from aio_pika.exceptions import DeliveryError

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.message import Command
from common.contracts.scheduler import CancelPost, CreatePosts, GivenFields, Row
from common.ids import uuid7
from common.messaging.publisher import Outgoing
from common.messaging.topology import COMMANDS
from common.testing.amqp import broker_channel, next_message
from common.testing.eventually import eventually
from common.testing.http_server import serving
from scheduler.app import wire
from scheduler.handlers import post_commands, queues

pytestmark = pytest.mark.integration

BATCHES = 25
Prepare = Callable[..., Awaitable[Any]]


class Held:
    """Stands before what prepares a batch: counts them, and lets them go on when told."""

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare
        self.under_way, self.go_on = 0, asyncio.Event()

    async def __call__(self, *arguments: Any, **more: Any) -> Any:
        self.under_way += 1
        await self.go_on.wait()
        return await self._prepare(*arguments, **more)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held(post_commands.prepare_posts)
    monkeypatch.setattr(post_commands, "prepare_posts", held)
    return held


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Held:
    asking = Held(post_commands.ask_publisher)
    monkeypatch.setattr(post_commands, "ask_publisher", asking)
    return asking


def batch(author: Any) -> Envelope:
    post = GivenFields.model_validate(author.plain() | {"allow_duplicate": True})
    return envelope_of(author, CreatePosts(rows=[Row(row=1, post=post)]))


def envelope_of(author: Any, command: Command) -> Envelope:
    context = Context(user_id=author.user_id, actor=f"user:{author.user_id}", correlation_id="test")
    return wrap(command, service="gateway", subject="x", context=context, request_hash="h")


async def send(author: Any, envelope: Envelope, **properties: Any) -> None:
    message = Outgoing(envelope.to_bytes(), routing_key=envelope.key, exchange=COMMANDS, mandatory=True, **properties)
    await author.scheduler.publisher.publish(message)


async def test_batches_and_questions_that_wait_hold_up_no_single_post(
    author: Any, world: Any, held: Held, asking: Held
) -> None:
    for _ in range(BATCHES):
        await send(author, batch(author))
        await send(author, envelope_of(author, CancelPost(post_id=uuid7())))
    await eventually(lambda: held.under_way >= queues.BATCHES.prefetch and asking.under_way == BATCHES, 60)
    await author.post()
    assert held.under_way == queues.BATCHES.prefetch
    assert await world.counts() == {"scheduled": 1}
    held.go_on.set()
    asking.go_on.set()

    async def all_are_stored() -> bool:
        return bool(await world.counts() == {"scheduled": BATCHES + 1})

    await eventually(all_are_stored, 60)


async def test_a_batch_that_both_queues_get_has_one_effect(author: Any, world: Any, held: Held, rabbitmq_url: str) -> None:
    """While replicas of the version before run, the queue of all other commands may be bound to batches as well."""
    async with broker_channel(rabbitmq_url) as channel:
        old = await channel.get_queue(queues.COMMANDS.name)
        replies = await channel.declare_queue(f"test.{uuid7().hex}", durable=True)
        await old.bind(COMMANDS.name, CreatePosts.KEY)
        try:
            await send(author, batch(author), reply_to=replies.name, correlation_id="x")
            await eventually(lambda: held.under_way == 2, 60)
            held.go_on.set()
            first, second = [json.loads((await next_message(channel, replies.name, 60)).body) for _ in range(2)]
        finally:
            await old.unbind(COMMANDS.name, CreatePosts.KEY)
            await replies.delete(if_empty=False)
        assert first == second, "the second is the stored one"
        assert await world.counts() == {"scheduled": 1}


async def test_a_scheduler_takes_batches_from_the_queue_they_came_through(
    author: Any, settings: Any, rabbitmq_url: str, user_keys: Any
) -> None:
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(broker_channel(rabbitmq_url))
        old, new = [await channel.get_queue(spec.name) for spec in (queues.COMMANDS, queues.BATCHES)]
        await old.bind(COMMANDS.name, CreatePosts.KEY)
        transport = httpx.MockTransport(author.scheduler.neighbours)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport))
        await stack.enter_async_context(serving(wire(settings, http, user_keys.verifier())))
        # Nobody else is left that gets them.
        await new.unbind(COMMANDS.name, CreatePosts.KEY)
        stack.push_async_callback(new.bind, COMMANDS.name, CreatePosts.KEY)
        with pytest.raises(DeliveryError):
            await send(author, batch(author))
