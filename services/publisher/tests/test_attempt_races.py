"""Attempts told in any order, twice, and while replicas die: real processes, a real broker, at most one publication of a post."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.topology import EVENTS
from common.testing.eventually import eventually
from publisher.domain.job import State
from publisher.storage import jobs

pytestmark = pytest.mark.integration

BIG = 71_000_000


class Teller:
    """Publishes `PostDue` as the scheduler does."""

    def __init__(self, publisher: MessagePublisher) -> None:
        self._publisher = publisher

    async def due(self, *posts: Any) -> None:
        for post in posts:
            context = Context(user_id=post.user_id, correlation_id="corr")
            envelope = wrap(post, service="scheduler", subject=str(post.post_id), context=context)
            await self._publisher.publish(Outgoing(envelope.to_bytes(), envelope.key, exchange=EVENTS))


@pytest_asyncio.fixture(loop_scope="session")
async def teller(processes: Any) -> AsyncIterator[Teller]:
    publisher = MessagePublisher(processes.settings().amqp_url, service="scheduler")
    await publisher.start()
    yield Teller(publisher)
    await publisher.stop()


def attempt(post: Any, number: int, **changes: Any) -> Any:
    return post.model_copy(update={"attempt": number, **changes})


async def states(world: Any, post: Any) -> dict[int, State]:
    async with world.database.read() as connection:
        return (await jobs.states_of_posts(connection, [post.post_id])).get(post.post_id, {})


async def test_an_attempt_told_after_the_next_one_never_runs(processes: Any, teller: Teller) -> None:
    world = processes
    post = world.post(await world.account(), world.media())
    async with world.process():
        await eventually(lambda: _consumes(world), 60)
        await teller.due(attempt(post, 2))
        await world.told_of(post, "started")
        await teller.due(post, attempt(post, 1, again=True))
        await eventually(lambda: _ended(world, post), 60)
        await teller.due(post)
        await eventually(lambda: _answers(world, post, 3), 60)
    assert await states(world, post) == {2: State.SUCCEEDED}
    assert len(await world.inits(post)) == len(await world.publications(post)) == 1
    assert {event.data["attempt"] for event in await world.events(post)} == {2}


async def test_attempts_in_any_order_while_replicas_are_killed(processes: Any, teller: Teller) -> None:
    """Each post is told as attempts 1 and 2, shuffled and twice; a replica dies in the middle."""
    world = processes
    posts = [world.post(await world.account(), world.media(BIG if number == 0 else 1_000_000)) for number in range(4)]
    told = [attempt(post, number) for post in posts for number in (1, 2, 1, 2)]
    random.Random(5).shuffle(told)
    async with world.process(service_instance="first") as first, world.process(service_instance="second"):
        await eventually(lambda: _consumes(world), 60)
        await teller.due(*told)
        await eventually(lambda: _some_ended(world, posts), 60)
        first.kill()
        await first.wait()
        await world.end_leases("first")
        for post in posts:
            await eventually(lambda post=post: _ended(world, post), 90)
    for post in posts:
        assert len(await world.publications(post)) == 1
        assert list((await states(world, post)).values()).count(State.SUCCEEDED) == 1


async def _has_started(world: Any, post: Any) -> bool:
    return "started" in await world.told(post)


async def test_the_sweep_asks_all_the_time_and_nothing_is_done_twice(processes: Any, teller: Teller) -> None:
    world = processes
    post = world.post(await world.account(), world.media(BIG))
    asking = True

    async def sweep() -> int:
        asked = 0
        while asking:
            await teller.due(attempt(post, 1, again=True))
            asked += 1
            await asyncio.sleep(0.05)
        return asked

    async with world.process(service_instance="first") as first, world.process(service_instance="second"):
        await eventually(lambda: _consumes(world), 60)
        await teller.due(post)
        sweeping = asyncio.create_task(sweep())
        # The sweep may have had it told again by now.
        await eventually(lambda: _has_started(world, post), 60)
        if (await world.job(post)).lease_owner == "first":
            first.kill()
            await first.wait()
            await world.end_leases("first")
        await eventually(lambda: _ended(world, post), 90)
        asking = False
        asked = await sweeping
        await eventually(lambda: _answers(world, post, asked // 2), 60)
    assert asked > 3
    assert len(await world.publications(post)) == 1
    assert [item["bytes"] for item in await world.inits(post) if item["sha256"] is None] in ([], [0])
    news = [event for event in await world.events(post) if not event.data["again"]]
    assert [event.key.split(".")[2] for event in news].count("succeeded") == 1


async def _consumes(world: Any) -> bool:
    import aio_pika

    async with await aio_pika.connect(world.settings().amqp_url.get_secret_value(), timeout=5) as connection:
        channel = await connection.channel()
        try:
            declared = await channel.declare_queue("publisher.post_due", passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
        return bool(declared.declaration_result.consumer_count)


async def _ended(world: Any, post: Any) -> bool:
    found = await states(world, post)
    return bool(found) and all(state.is_end for state in found.values()) and State.SUCCEEDED in found.values()


async def _some_ended(world: Any, posts: list[Any]) -> bool:
    return any([await _ended(world, post) for post in posts])


async def _answers(world: Any, post: Any, count: int) -> bool:
    return sum(event.data["again"] for event in await world.events(post)) >= count
