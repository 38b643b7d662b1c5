"""What may happen while a file is on its way: a cancellation, the deadline, a pause; and what is shown meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from common.clock import utc_now
from common.testing.eventually import eventually
from common.testing.file_host import Act, FileHost, file_host, video_bytes
from publisher.api.progress import Progress, progress_of
from publisher.domain.job import Lane, State, Step
from publisher.storage import accounts
from publisher.storage.accounts import AccountCopy
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from publisher.usecases.claim_jobs import claim_jobs

SIZE = 2_000_000
MINUTE = timedelta(minutes=1)
DATA = video_bytes(SIZE)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    async with file_host() as host:
        yield host


async def stopped(world: Any, host: FileHost, **changes: Any) -> tuple[Any, Act]:
    """Return a post of whose file half has come, and the act that goes on at a word."""
    act = Act(DATA, etag='"1"', stop_after=SIZE // 2)
    post = world.post_from(await world.account(), host.put("/v.mp4", act), **changes)
    await world.accept(post)
    return post, act


def progress(job: Any) -> Progress:
    return progress_of(job, give_up=timedelta(days=1), now=utc_now())


async def is_fetching(world: Any, post: Any) -> bool:
    return (await world.job(post)).streamed_bytes > 0


async def test_it_shows_how_many_bytes_have_come(world: Any, host: FileHost) -> None:
    post, act = await stopped(world, host)
    async with world.replica(service_instance="fetching"):
        await eventually(lambda: is_fetching(world, post), 60)
        shown = progress(await world.job(post))
        assert (shown.step, shown.next_step, shown.upload) == ("fetching", "fetch", None)
        assert shown.fetch is not None
        assert 0 < shown.fetch.fetched_bytes <= SIZE // 2
        assert shown.fetch.total_bytes == SIZE
        # However long it takes: each beat puts the end of its lease off, and until then nobody else gets the job.
        begun = await world.job(post)
        renewed = begun
        for _ in range(3):
            renewed = await eventually(lambda before=renewed.run_at: _renewed_after(world, post, before), 60)
            assert await _taken_by_another(world) == []
        assert (renewed.lease_owner, renewed.lease_token) == ("fetching", begun.lease_token)
        assert len(host.asked) == 1
        act.go_on.set()
        await world.state(post, State.SUCCEEDED)
    done = progress(await world.job(post))
    assert (done.fetch, done.upload.sent_bytes) == (None, SIZE)


async def _renewed_after(world: Any, post: Any, moment: datetime) -> Any:
    """Return the job when its lease ends later than at a moment."""
    job = await world.job(post)
    return job if job.run_at > moment else None


async def _taken_by_another(world: Any) -> list[Any]:
    """Return the jobs that another replica gets when it looks for some."""
    async with world.database.transaction() as tx:
        claimed = await claim_jobs(
            tx, Lane.SEND, owner="another", lease=MINUTE, limit=10, vouch_after=MINUTE, outbox=world.outbox
        )
    return list(claimed.jobs)


async def test_it_can_be_cancelled_and_leaves_nothing(world: Any, host: FileHost) -> None:
    post, act = await stopped(world, host)
    async with world.replica() as replica:
        await eventually(lambda: is_fetching(world, post), 60)
        async with world.database.transaction() as tx:
            assert await cancel_job(tx, post.post_id, 1, outbox=world.outbox, replica="test") is CancelOutcome.CANCELLED
        # The next renewal of its lease tells the replica, which breaks off; the server never says another word.
        await eventually(lambda: replica.lanes[0].running == 0, 60)
        assert not list((world.folder / "fetched").glob("*"))
    assert not act.go_on.is_set()
    assert await world.told(post) == ["started", "cancelled"]
    assert not await world.inits(post)


async def test_the_deadline_ends_it(world: Any, host: FileHost) -> None:
    deadline = await world.database_now() + timedelta(seconds=6)
    post, _ = await stopped(world, host, publish_before=deadline)
    async with world.replica():
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], failed["retryable"]) == ("deadline_passed", False)
    assert "could not be fetched" in failed["message"]
    assert not list((world.folder / "fetched").glob("*"))


async def test_the_deadline_ends_the_wait_for_an_address(world: Any, host: FileHost) -> None:
    deadline = await world.database_now() + timedelta(seconds=6)
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(status=503)), publish_before=deadline)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    failed = await world.event(post, "failed")
    assert (failed["code"], "could not be fetched" in failed["message"]) == ("deadline_passed", True)


async def test_it_is_left_for_later_when_it_takes_too_long(world: Any, host: FileHost) -> None:
    post, _ = await stopped(world, host)
    async with world.replica(source_seconds=0.5):
        await eventually(lambda: world.waits(post, "source_too_slow"), 60)
        assert progress(await world.job(post)).fetch.fetched_bytes == 0
        assert not list((world.folder / "fetched").glob("*"))


async def test_nothing_is_fetched_for_an_account_that_is_away(world: Any, host: FileHost) -> None:
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(DATA)))
    async with world.database.transaction() as tx:
        await accounts.save(tx.connection, AccountCopy(post.account_id, "inactive", 1))
    world.accounts.status = "inactive"
    async with world.replica():
        await world.accept(post)
        await world.told_of(post, "deferred")
        assert (world.accounts.asked, host.asked) == (1, [])
        world.accounts.status = "active"
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)


async def test_fetching_takes_a_place(world: Any, host: FileHost) -> None:
    first, act = await stopped(world, host)
    second = world.post_from(first.account_id, host.put("/2", Act(DATA)))
    async with world.replica(upload_concurrency=1) as replica:
        await asyncio.wait_for(host.reached.wait(), 60)
        await world.accept(second)
        replica.lanes[0].wake()
        await world.told_of(second, "started")
        assert not host.asked_for("/2")
        assert replica.tools.places.taken == 1
        act.go_on.set()
        await world.state(second, State.SUCCEEDED)
        await world.state(first, State.SUCCEEDED)


async def test_a_storage_that_fails_is_waited_for(world: Any, host: FileHost) -> None:
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(DATA)))
    (world.folder / "fetched").write_bytes(b"in the way")
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: world.waits(post, "storage_unavailable"), 60)
        (world.folder / "fetched").unlink()
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)


async def test_a_fetched_file_that_is_gone_is_an_honest_failure(world: Any, host: FileHost) -> None:
    """The bytes that were noted cannot be sent, and no others are: the next attempt fetches anew."""
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(DATA)))
    async with world.replica():
        world.accounts.status = "inactive"
        await world.accept(post)
        await eventually(lambda: world.waits(post, "account_paused"), 60)
        job = await world.job(post)
        assert job.checkpoint.step is Step.TOKEN
        (world.folder / job.fetched.storage_key).unlink()
        world.accounts.status = "active"
        await world.due_now(post)
        await world.state(post, State.FAILED)
        failed = await world.event(post, "failed")
        assert (failed["code"], failed["retryable"]) == ("fetched_file_missing", True)
        again = post.model_copy(update={"attempt": 2})
        await world.accept(again)
        await eventually(lambda: _succeeded(world, again, 2), 60)
    assert len(host.asked) == 2
    assert len(await world.publications(post)) == 1


async def _succeeded(world: Any, post: Any, attempt: int) -> bool:
    job = await world.job(post)
    return job.attempt == attempt and job.checkpoint.state is State.SUCCEEDED
