"""What a person is told while a job waits, on real jobs: each wait has its sentence, and it goes away with the wait."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.clock import utc_now
from common.ids import uuid7
from common.testing.eventually import eventually
from publisher.api.progress import Progress, progress_of
from publisher.domain.job import State

STATUS = "/v2/post/publish/status/fetch/"


async def shown(world: Any, post: Any) -> Progress:
    return progress_of(await world.job(post), give_up=timedelta(days=1), now=utc_now())


async def says(world: Any, post: Any, code: str | None) -> bool:
    reason = (await shown(world, post)).reason
    return (None if reason is None else reason["code"]) == code


async def change(world: Any, values: str) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET {values}"))


async def test_one_that_nobody_takes_up(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    assert await says(world, post, None)
    await change(world, "run_at = now() - interval '3 seconds'")
    assert await says(world, post, "waits_for_publisher")
    await change(world, "lease_owner = 'gone', state = 'running'")
    assert await says(world, post, "publisher_gone")


async def test_one_that_waits_for_a_place_says_so_until_it_has_one(world: Any) -> None:
    first, second = [world.post(await world.account(), world.media(71_000_000)) for _ in range(2)]
    async with world.replica(upload_concurrency=1) as replica:
        await world.driver.fault("upload", delay=30)
        await world.accept(first)
        await eventually(lambda: _taken(replica, 1))
        await world.accept(second)
        await eventually(lambda: says(world, second, "waits_for_place"))
        assert (await shown(world, second)).next_step == "upload"
        await world.driver.admin("DELETE", "faults")
        await world.state(second, State.SUCCEEDED)
        await world.state(first, State.SUCCEEDED)
    assert (await world.job(second)).reason is None
    assert await world.told(second) == ["started", "submitted", "succeeded"]


async def test_one_that_waits_for_an_earlier_attempt(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    await world.accept(post)
    await change(world, "state = 'unconfirmed', run_at = NULL")
    later = post.model_copy(update={"attempt": 2})
    async with world.replica():
        await world.accept(later)
        await eventually(lambda: says(world, later, "earlier_attempt_open"))
    told = await shown(world, later)
    assert told.next_step_at is not None


@pytest.mark.parametrize("simulator_changes", [{"processing_seconds": 3600}])
async def test_one_that_tiktok_processes_and_then_does_not_answer_about(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    async with world.replica() as replica:
        await world.accept(post)
        await eventually(lambda: _polls_in_a_while(world, post), 30)
        told = await shown(world, post)
        assert (told.next_step, told.reason["code"], told.tiktok_status) == (
            "status",
            "tiktok_processing",
            "PROCESSING_UPLOAD",
        )
        assert told.next_step_at is not None
        assert told.upload.sent_bytes == told.upload.total_bytes == 1_000_000
        await world.driver.fault(STATUS, status=500, times=100)
        await world.due_now(post)
        replica.lanes[1].wake()
        await eventually(lambda: says(world, post, "tiktok_internal_error"), 60)


async def test_an_outcome_that_is_not_known(world: Any) -> None:
    post = world.post(await world.account(), world.media())
    await world.driver.fault("processing", stuck=True)
    async with world.replica(unconfirmed_after_seconds=0.2):
        await world.accept(post)
        await world.state(post, State.UNCONFIRMED)
        await eventually(lambda: _rests(world, post))
    told = await shown(world, post)
    assert (told.next_step, told.reason["code"]) == ("look_again", "status_never_ended")
    assert told.next_step_at == (await world.job(post)).run_at
    assert "TikTok is asked again until" in told.reason["message"]


async def _taken(replica: Any, count: int) -> bool:
    return bool(replica.tools.places.taken == count)


async def _polls_in_a_while(world: Any, post: Any) -> bool:
    job = await world.job(post)
    return bool(job.lease_owner is None and job.checkpoint.polls > 1 and job.run_at > utc_now() + timedelta(seconds=0.5))


async def _rests(world: Any, post: Any) -> bool:
    return (await world.job(post)).lease_owner is None
