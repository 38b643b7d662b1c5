"""The process dies at the named point (SIGKILL) and another one finishes: exactly one publication, whatever the point."""

import asyncio
import os
import signal
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from common.testing.eventually import eventually
from publisher.domain.job import State, Step
from publisher.storage.tables import publish_jobs
from publisher.usecases.cancel_job import CancelOutcome, cancel_job

pytestmark = pytest.mark.integration

BIG = 73_000_000
PATIENCE = 90.0
"""Seconds for whatever is waited for: on a busy machine a process alone takes a while to start."""
SHORT_LEASE_SECONDS = 6.0
"""That of a process that is paused; busy machines stall for less."""


@pytest.mark.parametrize(
    ("point", "abandoned"),
    [
        ("after_init_intent", 0),
        ("after_init_answer", 1),
        ("before_chunk:0", 0),
        ("mid_chunk:0", 0),
        ("before_chunk:3", 0),
        ("mid_chunk:3", 0),
        ("before_chunk:6", 0),
        ("mid_chunk:6", 0),
        ("after_last_chunk", 0),
        ("while_polling", 0),
        ("after_status_answer", 0),
    ],
)
async def test_killed_at(processes: Any, point: str, abandoned: int) -> None:
    world = processes
    account = await world.account()
    post = world.post(account, world.media(BIG))
    await world.accept(post)
    async with world.process(service_instance="first", crash_point=point) as first:
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == -signal.SIGKILL
        assert not (await world.job(post)).checkpoint.state.is_end
        await world.end_leases("first")
        async with world.process(service_instance="second"):
            job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    assert job.last_owner == "second"
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    without_bytes = [item for item in await world.inits(post) if item["sha256"] is None]
    assert [item["bytes"] for item in without_bytes] == [0] * abandoned


@pytest.mark.parametrize(
    ("point", "outcome", "state"),
    [
        ("after_init_answer", CancelOutcome.CANCELLED, State.CANCELLED),
        ("before_chunk:0", CancelOutcome.TOO_LATE, State.SUCCEEDED),
    ],
)
async def test_killed_there_it_can_be_cancelled_until_a_chunk_is_intended(
    processes: Any, point: str, outcome: CancelOutcome, state: State
) -> None:
    world = processes
    post = world.post(await world.account(), world.media())
    await world.accept(post)
    async with world.process(service_instance="first", crash_point=point) as first:
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == -signal.SIGKILL
    async with world.database.transaction() as tx:
        assert await cancel_job(tx, post.post_id, post.attempt, outbox=world.outbox, replica="test") is outcome
    await world.end_leases("first")
    proof = world.post(post.account_id, world.media())
    await world.accept(proof)
    async with world.process(service_instance="second"):
        await world.state(proof, State.SUCCEEDED, timeout=PATIENCE)
        await world.state(post, state, timeout=PATIENCE)
    assert len(await world.publications(post)) == (state is State.SUCCEEDED)
    assert len(await world.inits(post)) == 1


async def test_killed_there_a_later_attempt_starts_only_when_nothing_can_come_of_the_first(processes: Any) -> None:
    """The first one died in its last chunk, then the second is told: whoever goes on finishes the first and stops the second."""
    world = processes
    post = world.post(await world.account(), world.media())
    second = post.model_copy(update={"attempt": 2})
    await world.accept(post)
    async with world.process(service_instance="first", crash_point="mid_chunk:0") as first:
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == -signal.SIGKILL
    await world.accept(second)
    await world.end_leases("first")
    async with world.process(service_instance="second"):
        await world.state(second, State.CANCELLED, timeout=PATIENCE)
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1
    of_second = [event for event in await world.events(post) if event.data["attempt"] == 2]
    assert of_second[-1].data["code"] == "earlier_attempt_published"
    assert not [event for event in of_second if event.key == "publisher.publish.started.v1"]


async def test_killed_while_polling_after_a_day_it_is_unconfirmed_and_never_failed(processes: Any) -> None:
    world = processes
    post = world.post(await world.account(), world.media())
    await world.driver.fault("processing", stuck=True)
    await world.accept(post)
    async with world.process(service_instance="first", crash_point="while_polling") as first:
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == -signal.SIGKILL
    async with world.database.transaction() as tx:
        submitted = update(publish_jobs).values(submitted_at=publish_jobs.c.submitted_at - timedelta(days=1))
        await tx.connection.execute(submitted)
    await world.end_leases("first")
    async with world.process(service_instance="second"):
        job = await world.state(post, State.UNCONFIRMED, State.FAILED, timeout=PATIENCE)
    assert (job.checkpoint.state, job.last_owner) == (State.UNCONFIRMED, "second")
    assert len(await world.publications(post)) == len(await world.inits(post)) == 1


async def test_paused_beyond_its_lease_it_sends_nothing_more(processes: Any) -> None:
    world = processes
    account = await world.account()
    post = world.post(account, world.media(BIG))
    await world.driver.fault("upload", skip=2, delay=600)
    await world.accept(post)
    async with world.process(service_instance="paused", lease_seconds=SHORT_LEASE_SECONDS) as paused:
        await eventually(lambda: _uploading(world, post), PATIENCE)
        os.kill(paused.pid, signal.SIGSTOP)
        await world.driver.admin("DELETE", "faults")
        stopped_at = (await world.job(post)).checkpoint.sent_bytes
        async with world.process(service_instance="other"):
            job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
            os.kill(paused.pid, signal.SIGCONT)
            paused.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                assert await paused.wait() == 0
    assert stopped_at < BIG
    assert job.last_owner == "other"
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1
    assert (await world.job(post)).lease_token == job.lease_token
    await eventually(lambda: _told_all(world, post), PATIENCE)


async def test_asked_to_end_it_hands_back_at_once(processes: Any) -> None:
    world = processes
    account = await world.account()
    post = world.post(account, world.media(BIG))
    await world.driver.fault("upload", skip=2, delay=3)
    await world.accept(post)
    async with world.process(service_instance="ending", lease_seconds=60.0) as ending:
        await eventually(lambda: _uploading(world, post), PATIENCE)
        ending.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await ending.wait() == 0
        assert (await world.job(post)).lease_owner is None
        async with world.process(service_instance="next"):
            await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1


async def test_asked_to_end_it_does_not_wait_for_a_tiktok_that_hangs(processes: Any) -> None:
    """After `DRAIN_SECONDS` the chunk is broken off and its lease handed back; TikTok would answer in ten minutes."""
    world = processes
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault("upload", skip=2, delay=600)
    await world.accept(post)
    async with world.process(service_instance="ending", lease_seconds=300.0, drain_seconds=1.0) as ending:
        await eventually(lambda: _uploading(world, post), PATIENCE)
        ending.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await ending.wait() == 0
        assert (await world.job(post)).lease_owner is None
        await world.driver.admin("DELETE", "faults")
        async with world.process(service_instance="next"):
            job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    assert job.last_owner == "next"
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1


async def _uploading(world: Any, post: Any) -> bool:
    checkpoint = (await world.job(post)).checkpoint
    return checkpoint.step is Step.UPLOADING and checkpoint.sent_bytes >= 20_000_000


async def _told_all(world: Any, post: Any) -> bool:
    return bool(await world.told(post) == ["started", "submitted", "succeeded"])
