"""What owners asked for before a post was due comes first, also after an outage in which both waited."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest

from common.clock import rfc3339, utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.message import Command
from common.contracts.scheduler import CancelPost, GivenFields, UpdatePost
from common.due_loop import StepResult
from common.messaging.headway import Found, Headway
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.topology import COMMANDS, work_queue
from common.testing.amqp import broker_channel, running
from common.testing.eventually import eventually
from common.testing.http_server import serving
from scheduler.app import wire
from scheduler.handlers import queues
from scheduler.loops import owners_first
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import DuePosts
from scheduler.loops.owners_first import OwnersFirst
from scheduler.loops.sweep import Sweep
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.sweep import SweepLimits

pytestmark = pytest.mark.integration
COMMAND = queues.COMMANDS.name


async def test_what_waited_for_a_scheduler_is_carried_out_before_what_has_fallen_due(
    world: Any, settings: Any, user_keys: Any, queue_recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, step = asyncio.Event(), DuePosts.step

    async def looking(due: DuePosts) -> StepResult:
        result = await step(due)
        looked.set()
        return result

    async def away(request: httpx.Request) -> httpx.Response:
        """Keep the commands from being carried out until the due loop has looked."""
        await looked.wait()
        raise httpx.ConnectError("nobody listens", request=request)

    monkeypatch.setattr(DuePosts, "step", looking)
    url = settings.amqp_url.get_secret_value()
    account = await world.account()
    mine = {"user_id": account.user_id, "account_id": account.id, "media_id": await world.media(account.user_id)}
    edited = [await world.post(**mine) for _ in range(3)]
    stopped, put_off = await world.post(**mine), await world.post(**mine, publish_before=utc_now() - timedelta(minutes=1))
    later = utc_now() + timedelta(hours=1)

    def changed(post: Any, **given: Any) -> UpdatePost:
        return UpdatePost(post_id=post.id, changes=GivenFields.model_validate(given))

    asked: list[Command] = [changed(post, caption="new") for post in edited]
    asked += [CancelPost(post_id=stopped.id), changed(put_off, scheduled_time=rfc3339(later), publish_before=None)]
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(broker_channel(url))
        stack.push_async_callback(queue_recorder.delete_all, url)
        for name in ("publisher.post_due", COMMAND, queues.QUESTIONS.name):
            await channel.declare_queue(name, durable=True, arguments=work_queue(name).arguments)
        for spec in (queues.COMMANDS, queues.QUESTIONS):
            for binding in spec.bindings:
                exchange = await channel.declare_exchange(COMMANDS.name, "topic", durable=True)
                await (await channel.get_queue(spec.name)).bind(exchange, binding.pattern)
        publisher = MessagePublisher(settings.amqp_url, service="test")
        await stack.enter_async_context(running(publisher))
        for command in asked:
            envelope = wrap(
                command, service="gateway", subject="x", context=Context(user_id=account.user_id), request_hash="h"
            )
            await publisher.publish(Outgoing(envelope.to_bytes(), routing_key=envelope.key, exchange=COMMANDS))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.MockTransport(away)))
        await stack.enter_async_context(serving(wire(settings, http, user_keys.verifier())))
        await eventually(lambda: _is(world, {"due": 3, "cancelled": 1, "scheduled": 1}), 60)
    titles = [envelope.data["content"]["title"] for envelope in await world.told() if envelope.key == "scheduler.post.due.v1"]
    assert titles == ["new"] * 3
    assert (await world.reload(put_off)).next_attempt_at == later


async def _is(world: Any, expected: dict[str, int]) -> bool:
    return bool(await world.counts() == expected)


async def test_it_waits_for_what_waited_and_while_nothing_is_heard_and_says_so(
    world: Any, intake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    headway = Headway(COMMAND)
    backlog = Backlog(world.database, intake, limit=1_000)
    due = DuePosts(world.database, world.outbox, ClaimLimits(), backlog, OwnersFirst(headway, intake))
    sweep = Sweep(world.database, world.outbox, None, SweepLimits(), backlog, headway.is_behind)  # type: ignore[arg-type]
    await world.post(next_attempt_at=utc_now() - timedelta(seconds=70))
    await world.post(publish_before=utc_now() - timedelta(seconds=1))

    async def claimed() -> int:
        result = await due.step()
        assert result.done or 0 < (result.next_in or 0) <= 0.1
        return result.done

    headway.begin({COMMAND: Found(1, 0)})
    assert (await claimed(), (await sweep.sweep_deadlines()).done) == (0, 0)
    assert "owners" in (await due.check() or "")
    # The connection is lost, then RabbitMQ: what falls due now could not leave.
    headway.end()
    assert await claimed() == 0
    intake.length = None
    with monkeypatch.context() as changed:
        changed.setattr(owners_first, "PATIENCE_S", 0.0)
        assert await claimed() == 0
        # It answers, and it is this replica that does not hear: not for ever.
        intake.length = 0
        assert (await sweep.sweep_deadlines()).done == 1
        assert await claimed() == 1
    await world.post()
    assert await claimed() == 0
    headway.begin({COMMAND: Found(0, 0)})
    assert await claimed() == 1
    assert await due.check() is None
