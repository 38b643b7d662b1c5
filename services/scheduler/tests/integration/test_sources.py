"""Posts whose video is at an address that Cuepost fetches: accepted, handed over without what may be a signature, and shown."""

from typing import Any

import httpx
import pytest

from common.clock import utc_now
from common.contracts.envelope import Envelope
from common.contracts.registry import parse
from common.contracts.scheduler import PostDue
from common.ids import uuid7
from common.messaging.topology import EVENTS
from common.testing.amqp import broker_channel, next_message
from common.testing.keys import ServiceKeys

pytestmark = pytest.mark.integration

URL = "https://videos.example.com/a.mp4?signature=SECRET"


async def test_an_address_is_taken_as_it_is(author: Any) -> None:
    post = await author.post(media_id=None, source_url=URL)
    assert (post["status"], post["source_url"], post["warnings"]) == ("scheduled", URL, [])


async def test_the_event_tells_the_address_without_its_query(world: Any, scheduler: Any, rabbitmq_url: str) -> None:
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue(f"test.{uuid7()}", exclusive=True)
        await queue.bind(EVENTS.name, PostDue.KEY)
        for fields in (
            {"source_url": URL},
            {"source_url": URL, "transfer": "pull"},
            {"photo_urls": [URL, "https://a.example/b.jpg"]},
        ):
            await world.post(media_id=None, **fields)
        told = [(await next_message(channel, queue.name, timeout=60)).body for _ in range(3)]
    due = [parse(Envelope.model_validate_json(body), PostDue) for body in told]
    bare = URL.partition("?")[0]
    assert {(post.source_url, post.transfer, tuple(post.photo_urls)) for post in due} == {
        (bare, "upload", ()),
        (bare, "pull", ()),
        (None, "upload", (bare, "https://a.example/b.jpg")),
    }
    assert b"SECRET" not in b"".join(told)


async def test_the_same_address_twice_is_no_duplicate(author: Any) -> None:
    """Nobody knows yet which bytes are there."""
    for _ in range(2):
        await author.post(media_id=None, source_url=URL)


async def test_an_address_that_is_not_fetched_is_refused(author: Any, world: Any) -> None:
    for url in (
        "http://videos.example.com/a.mp4",
        "https://127.0.0.1/a.mp4",
        "https://[64:ff9b::7f00:1]/a",
        "https://224.0.0.1/a",
    ):
        await author.refused("source_url_not_allowed", 422, media_id=None, source_url=url)
    await author.refused("one_source_only", 422, source_url=URL)
    assert await world.counts() == {}


async def test_only_the_publisher_is_told_the_whole_address(scheduler: Any, world: Any, service_keys: ServiceKeys) -> None:
    video, photos = await world.post(source_url=URL, media_id=None), await world.post(photo_urls=[URL], media_id=None)
    async with httpx.AsyncClient(base_url=scheduler.url, trust_env=False) as http:

        async def ask(post_id: Any, caller: str) -> httpx.Response:
            headers = service_keys.authorization(caller, "scheduler")
            return await http.get(f"/internal/posts/{post_id}/addresses", headers=headers)

        assert (await ask(video.id, "publisher")).json() == {"source_url": URL, "photo_urls": []}
        assert (await ask(photos.id, "publisher")).json() == {"source_url": None, "photo_urls": [URL]}
        unknown = await ask(uuid7(), "publisher")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "post_not_found")
        assert (await ask(video.id, "gateway")).status_code == 403
        assert (await http.get(f"/internal/posts/{video.id}/addresses")).status_code == 401


async def test_what_has_come_of_it_is_shown(world: Any, scheduler: Any) -> None:
    fields = {"status": "publishing", "attempt": 1, "next_attempt_at": None, "scheduled_time": utc_now(), "due_at": utc_now()}
    post = await world.post(source_url=URL, media_id=None, started_at=utc_now(), **fields)
    progress = {"attempt": 1, "step": "fetching", "next_step": "fetch", "fetch": {"fetched_bytes": 5, "total_bytes": None}}
    scheduler.neighbours.answers[f"GET publisher /internal/posts/{post.id}/progress"] = (200, progress)
    status = (await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)).json()
    assert (status["fetch"], status["next_step"]) == ({"fetched_bytes": 5, "total_bytes": None}, "fetch")
    detail = (await scheduler.get(f"/internal/posts/{post.id}/detail", post.user_id)).json()
    assert [(step["step"], step["status"]) for step in detail["planning"][2:5]] == [
        ("due", "done"),
        ("fetch", "active"),
        ("upload", "pending"),
    ]
