"""A whole job against the real simulator: what is told, what the ledger has, and how faults are survived."""

import hashlib
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from common.testing.eventually import eventually
from common.testing.file_host import Act, file_host, video_bytes
from publisher.domain.job import State, Step

INIT = "/v2/post/publish/video/init/"
STATUS = "/v2/post/publish/status/fetch/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
ONE_CHUNK = 60_000_001
"""As many bytes as TikTok takes in one piece, nearly."""


async def test_a_post_goes_out_once_and_is_told(world: Any) -> None:
    account = await world.account()
    world.accounts.tokens[account]["username"] = "The display name, where the grant shows no username"
    post = world.post(account, world.media())
    begun, late = lateness()
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert item["sha256"] == post.media.sha256
    assert await world.told(post) == ["started", "submitted", "succeeded"]
    events = await world.events(post)
    assert [event.sequence_number for event in events] == sorted(event.sequence_number for event in events)
    assert all(event.correlationid == "corr" and event.userid == post.user_id for event in events)
    started = await world.event(post, "started")
    assert 0 <= started["lateness_ms"] < 2_000
    assert lateness() == (begun + 1, pytest.approx(late + started["lateness_ms"] / 1_000))
    assert (await world.event(post, "submitted"))["log_id"], "TikTok's, of the answer to the init"
    succeeded = await world.event(post, "succeeded")
    assert succeeded["outcome"] == "published"
    assert succeeded["log_id"], "TikTok's, of the status that said so"
    assert succeeded["video_url"] == f"https://www.tiktok.com/@demo_public/video/{succeeded['tiktok_video_id']}"


def lateness() -> tuple[float, float]:
    """Return how many attempts have begun here, and how many seconds late they were together."""
    name = "cuepost_publisher_lateness_seconds"
    return REGISTRY.get_sample_value(f"{name}_count") or 0.0, REGISTRY.get_sample_value(f"{name}_sum") or 0.0


async def test_many_chunks_arrive_whole(world: Any) -> None:
    size = 153_000_007
    account = await world.account()
    post = world.post(account, world.media(size))
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert (item["sha256"], item["bytes"]) == (post.media.sha256, size)


@pytest.mark.parametrize("is_fetched", [False, True], ids=["media", "address"])
async def test_one_large_chunk_arrives_whole_and_never_lies_in_memory(world: Any, is_fetched: bool) -> None:
    account = await world.account()
    async with file_host() as host, world.replica():
        if is_fetched:
            data = video_bytes(ONE_CHUNK)
            sha256, post = hashlib.sha256(data).hexdigest(), world.post_from(account, host.put("/v.mp4", Act(data)))
        else:
            post = world.post(account, world.media(ONE_CHUNK))
            sha256 = post.media.sha256
        tracemalloc.start()
        try:
            await world.accept(post)
            await world.state(post, State.SUCCEEDED)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    (item,) = await world.publications(post)
    assert (item["sha256"], item["bytes"]) == (sha256, ONE_CHUNK)
    assert peak < ONE_CHUNK / 2, "TikTok's side, which is simulated here, included"


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        (INIT, {"lost_answer": True}),
        (INIT, {"drop": True}),
        (INIT, {"status": 500}),
        (INIT, {"delay": 0.5}),
        (INIT, {"status": 401, "code": "access_token_invalid"}),
        (CREATOR_INFO, {"status": 500, "times": 2}),
        (CREATOR_INFO, {"lost_answer": True}),
        ("upload", {"lost_answer": True}),
        ("upload", {"lost_answer": True, "skip": 6}),
        ("upload", {"drop": True, "skip": 3}),
        ("upload", {"status": 503, "times": 2, "skip": 2}),
        ("upload", {"status": 416, "skip": 2}),
        ("upload", {"lost_answer": True, "times": 7}),
        (STATUS, {"status": 500, "times": 2}),
        (STATUS, {"lost_answer": True}),
    ],
)
async def test_a_fault_changes_nothing_but_the_time(world: Any, endpoint: str, fault: dict[str, Any]) -> None:
    account = await world.account()
    world.accounts.renewed = world.accounts.tokens
    post = world.post(account, world.media(71_000_000 if endpoint == "upload" else 1_000_000))
    await world.driver.fault(endpoint, **fault)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert item["sha256"] == post.media.sha256
    assert not await world.driver.faults()
    assert (await world.told(post))[-1] == "succeeded"


async def test_a_failed_status_is_proof_and_says_why(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault("processing", fail_reason="frame_rate_check_failed")
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert failed["code"] == "tiktok_frame_rate_check_failed"
    assert failed["retryable"] is False
    assert failed["hint"]


async def test_a_refused_init_names_the_code(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault(INIT, status=403, code="privacy_level_option_mismatch")
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert failed["code"] == "tiktok_privacy_level_option_mismatch"
    assert not await world.publications(post)


async def test_a_daily_cap_defers_and_costs_no_attempt(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault(INIT, status=403, code="spam_risk_too_many_posts")
    async with world.replica():
        await world.accept(post)
        await _told(world, post, "deferred")
    deferred = await world.event(post, "deferred")
    assert deferred["code"] == "tiktok_spam_risk_too_many_posts"
    job = await world.job(post)
    assert job.checkpoint.state is State.RUNNING
    assert job.run_at - job.updated_at > timedelta(minutes=50)


async def test_privacy_that_is_not_offered_fails_before_init(world: Any) -> None:
    account = await world.account("demo_private")
    post = world.post(account, world.media())
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "tiktok_privacy_level_option_mismatch"
    assert not await world.inits(post)


async def test_sandbox_mode_sends_no_branded_content(world: Any) -> None:
    post = world.post(await world.account(), world.media(), content={"brand_content_toggle": True})
    async with world.replica(tiktok_sandbox_mode=True):
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "branded_content_must_be_public"
    assert not await world.inits(post)


async def test_sandbox_mode_posts_privately_and_says_so(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    async with world.replica(tiktok_sandbox_mode=True):
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert item["privacy_level"] == "SELF_ONLY"
    told = [(await world.event(post, name))["privacy_level"] for name in ("submitted", "succeeded")]
    assert told == ["SELF_ONLY", "SELF_ONLY"]


@pytest.mark.parametrize("simulator_changes", [{"processing_seconds": 600}])
async def test_what_was_sent_is_told_by_whoever_follows_it(world: Any) -> None:
    """One replica sends in sandbox mode; another, which is not in it, finds out how it ended."""
    post = world.post(await world.account(), world.media())
    async with world.replica(tiktok_sandbox_mode=True):
        await world.accept(post)
        await world.told_of(post, "submitted")
    await world.driver.advance(600)
    async with world.replica():
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert (await world.event(post, "succeeded"))["privacy_level"] == "SELF_ONLY"


async def test_a_post_tells_the_level_it_went_out_with(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    assert (await world.event(post, "succeeded"))["privacy_level"] == "PUBLIC_TO_EVERYONE"


async def test_past_its_deadline_nothing_starts(world: Any) -> None:
    account = await world.account()
    due_at = (await world.database_now()) - timedelta(hours=2)
    post = world.post(account, world.media(), due_at=due_at, publish_before=due_at + timedelta(hours=1))
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("deadline_passed", False)
    assert not await world.inits(post)


async def test_a_missing_file_fails_before_init(world: Any) -> None:
    account = await world.account()
    media = world.media()
    (world.folder / media.storage_key).unlink()
    post = world.post(account, media)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "media_missing"
    assert not await world.inits(post)


@pytest.mark.parametrize("simulator_changes", [{"upload_url_seconds": 0.2}])
async def test_an_ended_upload_address_is_proof(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media(71_000_000))
    await world.driver.fault("upload", skip=1, delay=0.5)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("upload_expired", True)
    assert not await world.publications(post)


async def test_a_video_id_that_comes_late_is_told(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault("processing", hide_post_id=True)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        assert (await world.event(post, "succeeded"))["tiktok_video_id"] is None
        job = await world.job(post)
        assert job.run_at is not None
        assert job.checkpoint.step is Step.UPLOADED or job.checkpoint.step is Step.POLLING


async def test_without_an_end_it_is_unconfirmed(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.driver.fault("processing", stuck=True)
    async with world.replica(unconfirmed_after_seconds=1.5):
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
    assert (await world.event(post, "unconfirmed"))["code"] == "status_never_ended"


async def _told(world: Any, post: Any, name: str) -> None:
    async def told() -> bool:
        return name in await world.told(post)

    await eventually(told, 60)
