"""Photo posts and drafts of photos: fetched by TikTok, published by their init alone."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common.testing.eventually import eventually
from publisher.domain.job import State
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from tiktok import _http
from tiktok_simulator.media_host import MediaHost, Resource, media_host

INIT = "/v2/post/publish/content/init/"
PHOTOS = [bytes([number]) * 1_000 for number in range(3)]
SHA256 = hashlib.sha256(b"".join(PHOTOS)).hexdigest()


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    return {"pull_loopback": True}


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


async def photos_of(world: Any, host: MediaHost, mode: str = "direct", **content: Any) -> Any:
    urls = [host.put(f"/{number}.jpg?s=secret", photo) for number, photo in enumerate(PHOTOS)]
    return world.post(await world.account(), None, photo_urls=urls, mode=mode, content=content)


async def test_photos_go_out_once_with_all_their_options(world: Any, host: MediaHost) -> None:
    options = {"disable_comment": True, "auto_add_music": True, "brand_organic_toggle": True, "is_aigc": True}
    post = await photos_of(world, host, title="the description #fun", photo_title="the title", photo_cover_index=2, **options)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.driver.ledger()
    assert (item["media_type"], item["mode"], item["source"]) == ("photo", "direct", "PULL_FROM_URL")
    assert (item["title"], item["description"]) == ("the title", "the description #fun")
    assert item["sha256"] == SHA256
    assert item["privacy_level"] == "PUBLIC_TO_EVERYONE"
    assert item["options"] == {**options, "brand_content_toggle": False, "photo_cover_index": 2}
    assert await world.told(post) == ["started", "submitted", "succeeded"]
    told = await world.event(post, "succeeded")
    assert told["video_url"] == f"https://www.tiktok.com/@demo_public/photo/{told['tiktok_video_id']}"


async def test_a_draft_of_photos_has_texts_and_is_told_as_one(world: Any, host: MediaHost) -> None:
    post = await photos_of(world, host, "inbox", title="words", photo_title="title", privacy_level=None, disable_comment=True)
    async with world.replica():
        await world.accept(post)
        job = await world.state(post, State.SUCCEEDED)
    assert job.checkpoint.outcome == "sent_to_inbox"
    (item,) = await world.driver.ledger()
    assert (item["mode"], item["title"], item["description"]) == ("inbox", "title", "words")
    assert item["options"] == {"is_aigc": False, "photo_cover_index": 0}
    assert (await world.event(post, "succeeded"))["outcome"] == "sent_to_inbox"


async def test_sandbox_mode_posts_photos_privately(world: Any, host: MediaHost) -> None:
    post = await photos_of(world, host)
    async with world.replica(tiktok_sandbox_mode=True):
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.driver.ledger()
    assert item["privacy_level"] == "SELF_ONLY"


@pytest.mark.parametrize(
    ("fault", "inits"),
    [({"lost_answer": True}, 1), ({"drop": True}, 0), ({"status": 503}, 0), ({"delay": 30, "delay_at": "answer"}, 1)],
)
async def test_an_init_of_unknown_outcome_is_never_repeated(
    world: Any, host: MediaHost, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], inits: int
) -> None:
    """Lost, refused by a fault of TikTok's own, or not answered in time."""
    post = await photos_of(world, host)
    if "delay" in fault:
        monkeypatch.setitem(_http.send.__kwdefaults__, "phases", httpx.Timeout(0.5))
    await world.driver.fault(INIT, **fault)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
    await world.driver.admin("DELETE", "faults")
    assert (await world.event(post, "unconfirmed"))["code"] == "init_outcome_unknown"
    assert len(await world.driver.ledger()) == inits


@pytest.mark.parametrize(
    ("resource", "code", "retryable"),
    [
        (Resource(status=404), "tiktok_photo_pull_failed", True),
        (Resource(bytes(21_000_000)), "tiktok_file_format_check_failed", False),
    ],
)
async def test_photos_that_tiktok_cannot_use(
    world: Any, host: MediaHost, resource: Resource, code: str, retryable: bool
) -> None:
    post = await photos_of(world, host)
    host.put("/1.jpg?s=secret", resource)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == (code, retryable)


async def test_an_app_that_is_too_old_for_drafts_of_photos_is_explained(world: Any, host: MediaHost) -> None:
    post = await photos_of(world, host, "inbox", privacy_level=None)
    creator = {"username": "demo_public", "persona": "public", "outdated_app": True}
    await world.driver.admin("POST", "creators", creator)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("tiktok_app_version_check_failed", False)
    assert "31.8" in failed["hint"]


async def test_photos_that_are_being_fetched_are_given_up_on_request(world: Any, host: MediaHost) -> None:
    post = await photos_of(world, host)
    host.put("/2.jpg?s=secret", Resource(PHOTOS[2], stop_after=10))
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: fetching(world, post))
        async with world.database.transaction() as tx:
            outcome = await cancel_job(tx, post.post_id, 1, outbox=world.outbox, replica="test")
        assert outcome is CancelOutcome.UNDECIDED
        await world.state(post, State.CANCELLED)
    (item,) = await world.driver.ledger()
    assert item["fail_reason"] == "publish_cancelled"


async def fetching(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return bool(job.tiktok_status == "PROCESSING_DOWNLOAD" and job.lease_owner is None)
