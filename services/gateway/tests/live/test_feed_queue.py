"""The queue behind all streams of a gateway: over a loss of the broker's connection, far behind, deleted, made again."""

import asyncio
from typing import Any

import aio_pika
import pytest
from pydantic import SecretStr

from common.testing.eventually import eventually
from gateway.handlers import live_feed

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick")]


async def test_a_lost_connection_loses_no_event(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    follow: Any,
    made: Any,
    trail: Any,
    gate: Any,
    keeper: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes first over the new one waits behind what was missed; that the broker dropped an event before that is noticed."""
    before, missed, dropped, kept, after = (made(user_id) for _ in range(5))
    async with run_gateway(amqp_url=SecretStr(gate[1])) as client, follow(client, auth) as reading:
        await tell(before)
        assert (await reading.next()).id == str(before.id)
        feed, (stream,) = client.app.state.edge.live_feed, client.app.state.edge.live_streams
        gate[0].cut()
        await eventually(lambda: feed._connection is None)
        await tell(missed)
        trail.events = [missed, dropped]
        monkeypatch.setattr(live_feed, "MAX_BYTES", len(kept.to_bytes()) * 3 // 2)
        consume, connections = aio_pika.Queue.consume, []

        async def consume_what_waits(queue: Any, *arguments: Any, **options: Any) -> Any:
            is_first = queue.name.startswith(feed._name) and not connections
            if queue.name.startswith(feed._name):
                connections.append(queue.name)
            if is_first:
                await tell(dropped, kept)
            tag = await consume(queue, *arguments, **options)
            if is_first:
                await eventually(lambda: str(kept.id) in {*stream._sent, *(event.id for event in stream._waiting)})
            return tag

        monkeypatch.setattr(aio_pika.Queue, "consume", consume_what_waits)
        gate[0].mend()
        assert [(await reading.next()).id for _ in range(3)] == [str(event.id) for event in (missed, dropped, kept)]
        await eventually(lambda: len(connections) == 2)
        await tell(after)
        assert (await reading.next()).id == str(after.id)
    assert trail.asked[0]["user_id"] == str(user_id)


async def test_a_gateway_far_behind_starts_on_an_empty_queue(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    follow: Any,
    made: Any,
    trail: Any,
    keeper: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missed = made(user_id)
    trail.events = [missed]
    async with run_gateway() as client, follow(client, auth) as reading:
        mine = client.app.state.edge.live_feed._name
        depths, real = iter([live_feed.MAX_BEHIND + 1]), live_feed._depth

        async def depth(channel: Any, queue: str) -> int:
            return next(depths, 0) if queue.startswith(mine) else await real(channel, queue)

        monkeypatch.setattr(live_feed, "_depth", depth)
        assert (await reading.next()).id == str(missed.id)


async def test_the_queue_goes_when_nobody_listens(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    follow: Any,
    made: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_feed, "IDLE_S", 0.1)
    async with run_gateway() as client:
        feed = client.app.state.edge.live_feed
        for _ in range(2):
            async with follow(client, auth) as reading:
                event = made(user_id)
                await tell(event)
                assert (await reading.next()).id == str(event.id)
            await eventually(feed._task.done)
            assert feed._connection is None


async def test_a_stream_that_is_opened_while_the_queue_goes_gets_its_events(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    follow: Any,
    made: Any,
    trail: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_feed, "IDLE_S", 0.1)
    monkeypatch.setattr(live_feed, "_CLOSE_TIMEOUT_S", 60.0)
    closing, may_close = asyncio.Event(), asyncio.Event()
    async with run_gateway() as client:
        feed, streams = client.app.state.edge.live_feed, client.app.state.edge.live_streams
        async with follow(client, auth):
            connection = feed._connection
            close = connection.close

            async def slow_close() -> None:
                closing.set()
                await may_close.wait()
                await close()

            monkeypatch.setattr(connection, "close", slow_close)
        await closing.wait()

        async def first_event() -> str | None:
            async with follow(client, auth) as reading:
                await tell(event)
                return (await reading.next()).id

        event = made(user_id)
        reader = asyncio.create_task(first_event())
        await eventually(lambda: len(streams) == 1)
        may_close.set()
        assert await reader == str(event.id)
