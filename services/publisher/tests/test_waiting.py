"""Quotas used up, deadlines that pass on the way, cancellations, video ids that come late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain import tiktok_limits
from publisher.domain.job import State, Step
from publisher.loops.drain import Drain
from publisher.storage import jobs

BIG = 71_000_000
CREATOR_INFO = "/v2/post/publish/creator_info/query/"


async def test_cancelled_while_it_prepares_nothing_goes_out(world: Any) -> None:
    from publisher.usecases.cancel_job import cancel_job

    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault(CREATOR_INFO, delay=30)
    async with world.replica():
        await world.accept(post)
        await eventually(lambda: _no_faults(world))
        async with world.database.transaction() as tx:
            await cancel_job(tx, post.post_id, 1, outbox=world.outbox, replica="test")
        await world.driver.admin("DELETE", "faults")
    assert await world.told(post) == ["started", "cancelled"]
    assert not await world.inits(post)


async def test_a_run_that_can_store_nothing_leaves_the_job_to_the_end_of_its_lease(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = world.post(await world.account(), world.media())
    save, failed = jobs.save, []

    async def failing(*arguments: Any, **keywords: Any) -> Any:
        if len(failed) < 2 and (await world.job(post)).checkpoint.state is State.RUNNING:
            failed.append(True)
            raise RuntimeError("cannot be stored")
        return await save(*arguments, **keywords)

    monkeypatch.setattr(jobs, "save", failing)
    async with world.replica() as replica:
        await world.accept(post)
        # Neither the step nor that it failed.
        await eventually(lambda: len(failed) == 2 and not replica.lanes[0].running)
        assert (await world.job(post)).lease_owner == replica.tools.replica
        await world.end_leases(replica.tools.replica)
        replica.lanes[0].wake()
        await world.state(post, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1


async def test_a_deadline_that_passes_while_preparing_stops_the_init(world: Any) -> None:
    now = await world.database_now()
    post = world.post(await world.account(), world.media(), publish_before=now + timedelta(seconds=1.5))
    await world.driver.fault(CREATOR_INFO, delay=2.5)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.FAILED)
    assert (await world.event(post, "failed"))["code"] == "deadline_passed"
    assert not await world.inits(post)


async def test_a_used_up_quota_of_creator_infos_is_waited_for(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.spend(account, tiktok_limits.CREATOR_INFO)
    async with world.replica():
        await world.accept(post)
        deferred = await world.told_of(post, "deferred")
        assert deferred["code"] == "tiktok_quota"
        async with world.database.transaction() as tx:
            await tx.connection.execute(text("DELETE FROM tiktok_quotas"))
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)
    assert await world.told(post) == ["started", "deferred", "started", "submitted", "succeeded"]


async def test_a_used_up_quota_of_status_calls_only_slows_the_polls(world: Any) -> None:
    account = await world.account()
    post = world.post(account, world.media())
    await world.spend(account, tiktok_limits.STATUS)
    async with world.replica():
        await world.accept(post)
        await world.told_of(post, "submitted")
        await eventually(lambda: _due_late(world, post))
        async with world.database.transaction() as tx:
            await tx.connection.execute(text("DELETE FROM tiktok_quotas"))
        await world.due_now(post)
        await world.state(post, State.SUCCEEDED)


@pytest.mark.parametrize("simulator_changes", [{"moderation_seconds": 600}])
async def test_an_id_that_comes_late_is_told(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        assert (await world.event(post, "succeeded"))["tiktok_video_id"] is None
        finished_at = (await world.job(post)).updated_at
        await world.driver.advance(600)
        await world.due_now(post)
        identified = await world.told_of(post, "identified")
    assert identified["video_url"].endswith(identified["tiktok_video_id"])
    job = await world.job(post)
    assert job.run_at is None
    assert job.tiktok_video_id == identified["tiktok_video_id"]
    assert job.updated_at > finished_at


async def test_an_id_that_never_comes_is_not_looked_for_for_ever(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    await world.driver.fault("processing", hide_post_id=True)
    async with world.replica():
        await world.accept(post)
        await world.state(post, State.SUCCEEDED)
        await world.due_now(post, polls=6)
        await eventually(lambda: _nothing_due(world, post))
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def test_places_bound_how_many_upload_at_once(world: Any) -> None:
    account = await world.account()
    media = world.media()
    posts = [world.post(account, media) for _ in range(4)]
    taken: list[int] = []
    async with world.replica(upload_concurrency=1) as replica:
        places = replica.tools.places
        place = places.place

        @asynccontextmanager
        async def noting(*arguments: Any, **options: Any) -> AsyncIterator[None]:
            async with place(*arguments, **options):
                taken.append(places.taken)
                yield

        places.place = noting
        await world.accept(*posts)
        for post in posts:
            await world.state(post, State.SUCCEEDED)
    assert len(taken) >= len(posts)
    assert set(taken) == {1}


async def test_asked_to_end_a_replica_hands_back_at_once_what_waits_for_a_place(world: Any) -> None:
    account = await world.account()
    sending, waiting = world.post(account, world.media()), world.post(account, world.media())
    await world.driver.fault("upload", delay=600)
    async with world.replica(upload_concurrency=1, drain_seconds=60.0, shutdown_grace_seconds=200.0) as replica:
        await world.accept(sending)
        await eventually(lambda: _no_faults(world), 60)
        await world.accept(waiting)
        await eventually(lambda: world.waits(waiting, "waits_for_place"), 60)
        ending = asyncio.create_task(Drain(replica.lanes).stop())
        await eventually(lambda: _is_free(world, waiting), 60)
        assert not await _is_free(world, sending)
        assert (await world.job(waiting)).run_at <= await world.database_now()
        await world.driver.admin("DELETE", "faults")
        await ending
    assert (await world.job(sending)).checkpoint.step is Step.UPLOADED
    async with world.replica():
        for post in (sending, waiting):
            await world.state(post, State.SUCCEEDED)


async def _is_free(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None


async def _due_late(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return job.lease_owner is None and job.run_at - job.updated_at > timedelta(seconds=30)


async def _nothing_due(world: Any, post: Any) -> bool:
    return (await world.job(post)).run_at is None


async def _no_faults(world: Any) -> bool:
    return not await world.driver.faults()
