"""The whole service: messages in, events out, internal HTTP, readiness."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio

from common.contracts.accounts import AccountUpdated
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.gateway import WebhookReceived
from common.ids import uuid7
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.topology import EVENTS
from common.testing.eventually import eventually
from common.testing.http_server import serving
from publisher.api import posts as api
from publisher.app import build, wire
from publisher.domain.job import State
from publisher.handlers import webhooks
from tiktok_simulator.media_host import MediaHost, Resource, media_host

pytestmark = pytest.mark.integration

CANCEL = "/v2/post/publish/cancel/"
INIT = "/v2/post/publish/video/init/"


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    return {"pull_loopback": True}


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


class Service:
    def __init__(self, world: Any, http: httpx.AsyncClient, publisher: MessagePublisher) -> None:
        self.world = world
        self.http = http
        self.publisher = publisher

    def due(self, post: Any) -> Envelope:
        return wrap(post, service="scheduler", subject=str(post.post_id), context=Context(user_id=post.user_id))

    async def tell(self, *envelopes: Envelope) -> None:
        await asyncio.gather(
            *(self.publisher.publish(Outgoing(envelope.to_bytes(), envelope.key, exchange=EVENTS)) for envelope in envelopes)
        )

    async def cancel(self, post: Any, attempt: int = 1, caller: str = "scheduler") -> httpx.Response:
        headers = self.world.keys.authorization(caller, "publisher")
        path = f"/internal/posts/{post.post_id}/cancel"
        return await self.http.post(path, json={"attempt": attempt}, headers=headers)

    async def progress(self, post: Any) -> httpx.Response:
        headers = self.world.keys.authorization("scheduler", "publisher")
        return await self.http.get(f"/internal/posts/{post.post_id}/progress", headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def service(processes: Any) -> AsyncIterator[Service]:
    app = wire(processes.settings())
    publisher = MessagePublisher(processes.settings().amqp_url, service="scheduler")
    await publisher.start()
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60.0) as http:
        yield Service(processes, http, publisher)
    await publisher.stop()


async def test_a_message_becomes_one_publication_and_its_events(service: Service) -> None:
    world = service.world
    post = world.post(await world.account(), world.media())
    envelope = service.due(post)
    await service.tell(envelope, envelope, service.due(post))
    await world.state(post, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1
    assert await _told(world, post, "succeeded")
    started = next(event for event in await eventually(lambda: _heard(world, post)) if event.key.endswith("started.v1"))
    assert started.data["lateness_ms"] >= 0
    assert started.causationid


async def test_a_burst_is_taken_in_batches(service: Service) -> None:
    world = service.world
    world.accounts.problem = None
    posts = [world.post(uuid7(), None) for _ in range(300)]
    await service.tell(*(service.due(post) for post in posts))
    await eventually(lambda: _count(world, 300), 60)


async def test_progress_and_cancel(service: Service) -> None:
    world = service.world
    post = world.post(await world.account(), world.media())
    assert (await service.progress(post)).status_code == 404
    assert (await service.cancel(post, caller="gateway")).status_code == 403
    assert (await service.cancel(post, attempt=0)).status_code == 422
    await world.driver.fault(INIT, status=429, times=5)
    await service.tell(service.due(post))
    await eventually(lambda: _told(world, post, "deferred"), 60)
    shown = (await service.progress(post)).json()
    assert (shown["attempt"], shown["state"], shown["step"]) == (1, "running", "creator_info")
    assert (shown["next_step"], shown["reason"]["code"]) == ("init", "tiktok_rate_limit_exceeded")
    assert shown["next_step_at"]
    assert shown["upload"] is None
    assert shown["replica"] == "publisher-1"
    assert (await service.cancel(post)).json() == {"outcome": "cancelled"}
    assert (await service.progress(post)).json()["state"] == "cancelled"
    await eventually(lambda: _told(world, post, "cancelled"))
    assert not await world.publications(post)


async def test_progress_of_an_upload_and_too_late_to_cancel(service: Service) -> None:
    world = service.world
    post = world.post(await world.account(), world.media(71_000_000))
    await world.driver.fault("upload", skip=3, delay=60)
    await service.tell(service.due(post))

    async def halfway() -> bool:
        answer = await service.progress(post)
        upload = answer.json().get("upload") if answer.status_code == 200 else None
        return bool(upload and upload["sent_bytes"] >= 30_000_000)

    await eventually(halfway, 60)
    shown = (await service.progress(post)).json()
    assert shown["upload"]["total_bytes"] == 71_000_000
    assert (shown["step"], shown["next_step"], shown["next_step_at"]) == ("uploading", "upload", None)
    assert "upload_url" not in shown
    assert (await service.cancel(post)).json() == {"outcome": "too_late"}
    await world.driver.admin("DELETE", "faults")
    await world.state(post, State.SUCCEEDED)
    shown = (await service.progress(post)).json()
    assert (shown["state"], shown["next_step"]) == ("succeeded", None)


async def test_a_fetch_of_tiktoks_is_given_up_on_request(
    service: Service, host: MediaHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = service.world
    url = host.put("/a.mp4", Resource(bytes(100_000), stop_after=1_000))
    posts = [world.post(await world.account(), None, transfer="pull", source_url=url) for _ in range(2)]
    await service.tell(*(service.due(post) for post in posts))
    for post in posts:
        await eventually(lambda post=post: _fetching(service, post), 60)
    # A busy machine is no TikTok that does not answer.
    monkeypatch.setattr(api, "DECISION_PATIENCE_SECONDS", 30.0)
    assert (await service.cancel(posts[0])).json() == {"outcome": "cancelled"}
    assert (await service.cancel(posts[0])).json() == {"outcome": "cancelled"}
    await eventually(lambda: _told(world, posts[0], "cancelled"))
    # TikTok does not answer: it is known only later.
    monkeypatch.setattr(api, "DECISION_PATIENCE_SECONDS", 0.3)
    await world.driver.fault(CANCEL, delay=30, times=3)
    assert (await service.cancel(posts[1])).json() == {"outcome": "undecided"}
    shown = (await service.progress(posts[1])).json()
    assert (shown["next_step"], shown["reason"]["code"]) == ("cancel", "cancel_under_way")
    await world.driver.admin("DELETE", "faults")
    await world.state(posts[1], State.CANCELLED)
    assert [item["fail_reason"] for item in await world.driver.ledger()] == ["publish_cancelled"] * 2


async def test_an_account_that_is_back_wakes_its_jobs(service: Service) -> None:
    world = service.world
    account = await world.account()
    post = world.post(account, world.media())
    world.accounts.status = "inactive"
    await service.tell(service.due(post))
    await eventually(lambda: _told(world, post, "deferred"), 60)
    shown = (await service.progress(post)).json()
    assert (shown["next_step"], shown["next_step_at"]) == ("wait_for_account", None)
    assert (shown["reason"]["code"], shown["reason"]["hint"] is None) == ("account_paused", False)
    world.accounts.status = "active"
    event = AccountUpdated(
        account_id=account,
        user_id=post.user_id,
        tiktok_user_id="t",
        username="a",
        display_name="A",
        status="active",
        scopes=[],
    )
    context = Context(user_id=post.user_id)
    news = wrap(event, service="accounts", subject=str(account), context=context, sequence=3)
    await service.tell(news, news)
    await eventually(lambda: _going_on(world, post), 60)
    await world.state(post, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1


async def test_a_row_that_cannot_be_read_can_be_looked_at_and_cancelled(service: Service) -> None:
    world = service.world
    post = world.post(uuid7(), None, due_at=await world.database_now())
    world.accounts.status = "inactive"
    await world.accept(post)
    await world.due_now(post, post={"mode": "carousel"})
    await eventually(lambda: _told(world, post, "deferred"), 60)
    shown = await service.progress(post)
    assert (shown.status_code, shown.json()["reason"]["code"]) == (200, "internal_error")
    for _ in range(2):
        assert (await service.cancel(post)).json() == {"outcome": "cancelled"}
    await eventually(lambda: _told(world, post, "cancelled"), 60)
    assert (await service.progress(post)).json()["state"] == "cancelled"


async def test_what_is_no_post_due_ends_as_a_dead_letter(service: Service) -> None:
    world = service.world
    good = service.due(world.post(uuid7(), None))
    bad = good.model_copy(update={"id": uuid7(), "data": {"post_id": "none"}})
    await service.tell(bad, good)
    await eventually(lambda: _count(world, 1))


def webhook(open_id: str, event: str, content: dict[str, Any] | str) -> Envelope:
    received = WebhookReceived(
        client_key="ck", event=event, create_time=int(time.time()), user_openid=open_id, content=content
    )
    return wrap(received, service="gateway", subject=open_id, context=Context())


@pytest.mark.parametrize("simulator_changes", [{"processing_seconds": 3600}])
async def test_webhooks_are_heard(service: Service, rabbitmq_url: str) -> None:
    world = service.world
    post = world.post(await world.account(), world.media())
    await service.tell(service.due(post))
    await eventually(lambda: _told(world, post, "submitted"))

    async def not_soon() -> bool:
        job = await world.job(post)
        if job.lease_owner is None and job.checkpoint.polls < 20:
            await world.due_now(post, polls=20)
        return bool(job.lease_owner is None and job.run_at - job.updated_at > timedelta(seconds=50))

    await eventually(not_soon, 30)
    await world.driver.advance(3600)
    open_id = world.accounts.tokens[post.account_id]["open_id"]
    about = {"publish_id": (await world.job(post)).publish_id, "publish_type": "DIRECT_PUBLISH"}
    complete = webhook(open_id, "post.publish.complete", about)
    others = [
        webhook(open_id, name, {"publish_id": "x"} if name.startswith("post") else {"reason": 1})
        for name in ("post.publish.unheard", "authorization.removed")
    ]
    broken = webhook(open_id, "post.publish.complete", "not an object")
    next_look_at = (await world.job(post)).run_at
    await service.tell(broken, *others, complete, complete)
    job = await world.state(post, State.SUCCEEDED)
    assert job.updated_at < next_look_at
    await eventually(lambda: dead_letters(rabbitmq_url, webhooks.QUEUE.name, 1))


async def dead_letters(url: str, queue: str, count: int) -> bool:
    async with await aio_pika.connect(url, timeout=5) as connection:
        declared = await (await connection.channel()).declare_queue(f"{queue}.dead", passive=True)
        return bool(declared.declaration_result.message_count == count)


async def test_readiness(service: Service) -> None:
    answer = await service.http.get("/readyz")
    assert answer.status_code == 200, answer.text
    checks = answer.json()["checks"]
    assert {"database", "broker", "consumer", "news_consumer", "heartbeat", "runner-send", "runner-follow"} <= {*checks}


async def test_paused_it_stores_jobs_and_starts_none(processes: Any) -> None:
    world = processes
    app = wire(world.settings(publish_paused=True))
    publisher = MessagePublisher(world.settings().amqp_url, service="scheduler")
    await publisher.start()
    async with serving(app), httpx.AsyncClient() as http:
        post = world.post(uuid7(), None)
        await Service(world, http, publisher).tell(Service(world, http, publisher).due(post))
        await eventually(lambda: _count(world, 1))
        assert (await world.job(post)).checkpoint.state is State.QUEUED
    await publisher.stop()


async def test_settings_come_from_the_environment(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    app, settings = build()
    assert (app.title, settings.service, settings.instance) == ("Cuepost publisher", "publisher", "publisher-1")


async def _heard(world: Any, post: Any) -> list[Envelope]:
    """Return the post's events once the relay has nothing left to send, and the broker has brought all of them."""
    async with world.database.read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM outbox_messages")).scalar() == 0
    events: list[Envelope] = await world.events(post)
    assert {event.id for event in events} <= {event.id for event in world.heard}
    return events


async def _told(world: Any, post: Any, name: str) -> bool:
    return name in await world.told(post)


async def _going_on(world: Any, post: Any) -> bool:
    return (await world.told(post)).count("started") == 2


async def _count(world: Any, wanted: int) -> bool:
    async with world.database.read() as connection:
        count = (await connection.exec_driver_sql("SELECT count(*) FROM publish_jobs")).scalar()
    return bool(count == wanted)


async def _fetching(service: Service, post: Any) -> bool:
    answer = await service.progress(post)
    return bool(answer.status_code == 200 and answer.json()["tiktok_status"] == "PROCESSING_DOWNLOAD")
