"""Storage that fails, files that change, addresses that end, leases that are lost in the middle of a chunk."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common.testing.eventually import eventually
from publisher.clients.media_store import MediaMissing, MediaUnavailable
from publisher.domain.job import State, Step
from publisher.domain.outcomes import Look
from publisher.errors import LeaseLost
from publisher.runner.init_answer import conclude_or_keep
from publisher.runner.job_clock import JobClock
from publisher.runner.lease import Lease
from publisher.runner.run import JobRun

BIG = 71_000_000
CREATOR_INFO = "/v2/post/publish/creator_info/query/"


def failing_once(media: Any, fail: Callable[[], None], *, at: int) -> None:
    """Let a store's read call `fail` once, after the first piece at or beyond offset `at` of the file."""
    read, failed = media.read, []

    async def reading(key: str, first: int, last: int) -> AsyncIterator[bytes]:
        offset = first
        async for piece in read(key, first, last):
            if offset >= at and not failed:
                failed.append(True)
                fail()
            yield piece
            offset += len(piece)

    media.read = reading


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


async def test_storage_away_in_the_middle_is_waited_for(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    async with world.replica() as replica:
        failing_once(replica.tools.media, raising(MediaUnavailable("x")), at=25_000_000)
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert item["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1


@pytest.mark.parametrize("size", [BIG, 1_000_000])
async def test_a_file_that_vanishes_in_the_middle_publishes_nothing(world: Any, size: int) -> None:
    post = world.post(await world.account(), world.media(size))
    async with world.replica() as replica:
        failing_once(replica.tools.media, raising(MediaMissing("x")), at=size // 2)
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("media_missing", False)
    assert not await world.publications(post)


async def test_a_file_that_became_shorter_publishes_nothing(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    path = world.folder / post.media.storage_key
    async with world.replica() as replica:
        failing_once(replica.tools.media, lambda: path.write_bytes(b"x" * 31_000_000), at=20_000_000)
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "media_missing"
    assert not await world.publications(post)


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(403, "upload_expired", True), (404, "upload_unknown", True), (400, "upload_rejected", False)],
)
async def test_an_address_that_ends_is_proof(world: Any, status: int, code: str, retryable: bool) -> None:
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", status=status, skip=2)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == (code, retryable)
    assert failed["publish_id"]
    assert not await world.publications(post)


@pytest.mark.parametrize(("status", "settled"), [(403, State.FAILED), (404, State.UNCONFIRMED)])
async def test_an_address_that_ends_at_the_last_chunk_is_looked_at_again(world: Any, status: int, settled: State) -> None:
    """An expired address is proof once TikTok still misses bytes; an unknown one is none, since a completed upload may be gone."""
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", status=status, skip=6)
    async with world.replica(upload_settle_seconds=1.5):
        await world.accept(post)
        if settled is State.UNCONFIRMED:
            await eventually(lambda: _looked_at_after(world, post, timedelta(seconds=1.5)), 60)
            await world.due_now(post, irrevocable_since=func.clock_timestamp() - timedelta(hours=25))
        await world.state(post, settled)
    job = await world.job(post)
    # The row's time is that of the beginning of its transaction, which is a little before the decision.
    assert job.updated_at - job.checkpoint.upload_ended_at >= timedelta(seconds=1)
    assert not await world.publications(post)


@pytest.mark.parametrize("simulator_changes", [{"uploaded_bytes_lag_seconds": 7200, "completed_upload_status": 403}])
@pytest.mark.parametrize("faults", [[{"lost_answer": True}], [{"status": 503}, {"status": 403}]])
async def test_a_refusal_of_a_last_chunk_that_may_be_there_is_no_proof(world: Any, faults: list[dict[str, Any]]) -> None:
    """TikTok may count it late, and refuse it because the upload is complete: a second attempt would publish it twice."""
    for fault in faults:
        await world.driver.fault("upload", **fault)
    await world.driver.fault("processing", delay=3600)
    post = world.post(await world.account(), world.media())
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: _looked_at_after(world, post, timedelta(seconds=0.2)), 60)
        job = await world.job(post)
        assert (job.checkpoint.state, job.checkpoint.upload_ended_code) == (State.RUNNING, "upload_unknown")
        assert job.checkpoint.polls > 0
        if await world.publications(post):
            await world.driver.advance(3601)
            await world.due_now(post)
            await world.state(post, State.SUCCEEDED)
    assert len(await world.inits(post)) == 1


async def test_an_address_that_ends_after_all_bytes_is_a_success(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", lost_answer=True, skip=6)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    # Asked late, TikTok may be done already: then there is nothing between.
    assert [name for name in await world.told(post) if name != "submitted"] == ["started", "succeeded"]


async def test_chunks_refused_for_long_defer_and_go_on(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", status=503, skip=2, times=3)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    assert len(await world.inits(post)) == 1
    assert len(await world.publications(post)) == 1


@pytest.mark.parametrize(
    "fault",
    [{"drop": True, "times": 7}, {"status": 206, "skip": 6}, {"status": 416, "times": 3}, {"status": 200}, {"status": 308}],
)
async def test_odd_answers_are_asked_about(world: Any, fault: dict[str, Any]) -> None:
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", **fault)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert item["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1


async def test_an_upload_host_that_cannot_be_reached_is_waited_for(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    async with world.replica() as replica:
        failing_once(replica.tools.media, raising(MediaUnavailable("x")), at=25_000_000)
        await world.accept(post)
        await eventually(lambda: world.waits(post, "storage_unavailable"))
        url = (await world.job(post)).upload_url
        await world.due_now(post, upload_url="http://127.0.0.1:9/nobody", deferrals=0)
        await eventually(lambda: world.waits(post, "tiktok_upload_unavailable"))
        await world.due_now(post, upload_url=url)
        await world.state(post, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1


async def test_without_an_address_to_send_to_it_ends(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    async with world.replica() as replica:
        failing_once(replica.tools.media, raising(MediaUnavailable("x")), at=25_000_000)
        await world.accept(post)
        await eventually(lambda: world.waits(post, "storage_unavailable"))
        await world.due_now(post, upload_url=None)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "upload_expired"


async def test_nothing_is_stored_once_the_lease_is_known_to_be_lost(world: Any) -> None:
    post = world.post(await world.account(), None)
    await world.accept(post)
    job = await world.job(post)
    lease = Lease(job.id, job.lease_token, valid_until=0.0)
    lease.revoke()
    async with world.replica(publish_paused=True) as replica:
        run = JobRun(replica.tools, job, lease, JobClock(job.updated_at, at=0.0), asyncio.Event())
        with pytest.raises(LeaseLost):
            await run.store({"deferrals": 1})
        with pytest.raises(LeaseLost):
            await conclude_or_keep(run, Look(1.0), {})


async def test_a_lease_lost_in_the_middle_of_a_chunk_stops_the_chunk(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    async with world.replica() as replica:
        lost: list[Lease] = []

        def lose() -> None:
            lost.extend(replica.heartbeat.held)
            for lease in lost:
                replica.heartbeat.let_go(lease)
                lease.revoke()

        failing_once(replica.tools.media, lose, at=35_000_000)
        await world.accept(post)
        await eventually(lambda: lost and not replica.lanes[0].running, 60)
        await world.end_leases(replica.tools.replica)
        replica.lanes[0].wake()
        await world.state(post, State.SUCCEEDED)
    (item,) = await world.publications(post)
    assert item["sha256"] == post.media.sha256
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def test_an_error_of_our_own_defers_and_is_told(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica() as replica:
        size = replica.tools.media.size
        replica.tools.media.size = raising(RuntimeError("a bug"))
        await world.accept(post)
        await eventually(lambda: world.waits(post, "internal_error"))
        replica.tools.media.size = size
        await world.state(post, State.SUCCEEDED)


async def test_an_error_of_our_own_while_polling_ends_as_unconfirmed_when_an_outcome_is_given_up(world: Any) -> None:
    """Not before: until then the next poll may tell."""
    await world.driver.fault("processing", stuck=True)
    post = world.post(await world.account(), world.media())
    async with world.replica() as replica:
        await world.accept(post)
        await world.told_of(post, "submitted")
        replica.tools.tiktok.status = raising(RuntimeError("a bug"))
        await world.due_now(post)
        await eventually(lambda: world.waits(post, "internal_error"))
        assert (await world.job(post)).checkpoint.state is State.RUNNING
        await eventually(lambda: rests(world, post))
        await world.due_now(post, submitted_at=func.clock_timestamp() - timedelta(hours=25))
        job = await world.state(post, State.UNCONFIRMED)
    assert job.reason["code"] == "internal_error"
    assert "confirm it" in job.reason["hint"]


async def rests(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None


async def test_who_gets_no_connection_in_time_goes_on_without_a_word(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica() as replica:
        size, asked = replica.tools.media.size, asyncio.Event()

        async def exhausted(key: str) -> int:
            asked.set()
            raise PoolTimeoutError("QueuePool limit of size 10 overflow 0 reached")

        replica.tools.media.size = exhausted
        await world.accept(post)
        async with asyncio.timeout(60):
            await asked.wait()
        replica.tools.media.size = size
        job = await world.state(post, State.SUCCEEDED)
    assert job.checkpoint.deferrals == 0
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def test_storage_away_before_init_is_waited_for(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica() as replica:
        size = replica.tools.media.size
        replica.tools.media.size = raising(MediaUnavailable("x"))
        await world.accept(post)
        await eventually(lambda: world.waits(post, "storage_unavailable"))
        replica.tools.media.size = size
        await world.state(post, State.SUCCEEDED)


async def test_a_replica_that_ends_hands_over_between_chunks(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    async with world.replica(lease_seconds=60.0):
        await world.accept(post)
        await eventually(lambda: _uploading(world, post))
    assert (await world.job(post)).lease_owner is None
    async with world.replica(service_instance="publisher-2"):
        await world.state(post, State.SUCCEEDED)
    assert len(await world.inits(post)) == 1
    (item,) = await world.publications(post)
    assert item["sha256"] == post.media.sha256


async def test_a_replica_without_time_to_drain_hands_over_in_the_middle(world: Any) -> None:
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", skip=2, delay=5)
    async with world.replica(lease_seconds=60.0, drain_seconds=0):
        await world.accept(post)
        await eventually(lambda: _uploading(world, post))
    assert (await world.job(post)).lease_owner is None
    async with world.replica(service_instance="publisher-2"):
        await world.state(post, State.SUCCEEDED)
    assert len(await world.inits(post)) == 1
    assert len(await world.publications(post)) == 1


async def _looked_at_after(world: Any, post: Any, settle: timedelta) -> bool:
    """Whether it is still open after a look that came later than that after the end of its address, and waits for the next one."""
    job = await world.job(post)
    ended_at = job.checkpoint.upload_ended_at
    waits = job.checkpoint.state is State.RUNNING and job.lease_owner is None
    return waits and ended_at is not None and job.updated_at - ended_at >= settle


async def _uploading(world: Any, post: Any) -> bool:
    checkpoint = (await world.job(post)).checkpoint
    return checkpoint.step is Step.UPLOADING and checkpoint.sent_bytes >= 10_000_000
