"""A job in hand whose lease is about to end: its process dies, or hangs, at that very point, and another one takes over.

The lease is not renewed because the job's row is locked; the process notices that less than half of it is left: that is the point.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from common.testing.eventually import eventually
from common.testing.forked_programs import ForkedProgram
from publisher.domain.job import State, Step
from publisher.storage.tables import publish_jobs

pytestmark = pytest.mark.integration

PATIENCE = 60.0
BIG = 73_000_000
STATUS = "/v2/post/publish/status/fetch/"
POINT = "lease_nearly_over"
LEASE_SECONDS = 10.0
"""Busy machines stall for less than half of it."""

MOMENTS = {
    "while it uploads": ({"endpoint": "upload", "skip": 2}, {Step.UPLOADING}),
    "while it polls": ({"endpoint": STATUS}, {Step.UPLOADED, Step.POLLING}),
}
"""The call of TikTok's that holds the job in hand there, and the steps at which it is."""


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """Return the folder in which a point is armed by a file of its name."""
    folder = tmp_path / "points"
    folder.mkdir()
    return folder


@asynccontextmanager
async def in_hand(world: Any, points: Path, moment: str) -> AsyncIterator[tuple[Any, ForkedProgram]]:
    """Give a post that a process named `first` has in hand, in the middle of a call that TikTok does not answer."""
    fault, steps = MOMENTS[moment]
    post = world.post(await world.account(), world.media(BIG))
    await world.driver.fault(**fault, delay=600)
    await world.accept(post)

    async def is_in_hand() -> bool:
        job = await world.job(post)
        return job.checkpoint.step in steps and job.lease_owner == "first" and not await world.driver.faults()

    changes = {"lease_seconds": LEASE_SECONDS, "crash_points_folder": points}
    async with world.process(service_instance="first", **changes) as first:
        await eventually(is_in_hand, PATIENCE)
        yield post, first


@asynccontextmanager
async def unrenewed(world: Any, post: Any) -> AsyncIterator[None]:
    """Let nobody renew the lease of the post's job, or take the job, while the block lasts."""
    async with world.database.transaction() as tx:
        row = select(publish_jobs.c.id).where(publish_jobs.c.post_id == post.post_id).with_for_update()
        await tx.connection.execute(row)
        yield


async def published_once(world: Any, post: Any) -> None:
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1

    async def has_told_all() -> bool:
        return len(await world.told(post)) >= 3

    await eventually(has_told_all, PATIENCE)
    assert await world.told(post) == ["started", "submitted", "succeeded"]


async def calls(world: Any) -> int:
    """Return how many chunks were sent and statuses asked for, as far as they have ended."""
    requests = (await world.driver.stats())["requests"]
    return sum(sum(requests.get(endpoint, {}).values()) for endpoint in ("upload", STATUS))


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_there_it_is_taken_over_when_the_lease_has_ended(processes: Any, points: Path, moment: str) -> None:
    world = processes
    async with in_hand(world, points, moment) as (post, first):
        async with unrenewed(world, post):
            (points / POINT).touch()
            async with asyncio.timeout(PATIENCE):
                assert await first.wait() == -signal.SIGKILL
        held = await world.job(post)
        assert (held.lease_owner, held.checkpoint.state) == ("first", State.RUNNING)
        await world.driver.admin("DELETE", "faults")
        async with world.process(service_instance="second"):
            job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    assert job.last_owner == "second"
    await published_once(world, post)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_held_up_there_until_it_is_over_it_sends_and_stores_nothing(processes: Any, points: Path, moment: str) -> None:
    world = processes
    async with in_hand(world, points, moment) as (post, first):
        process = psutil.Process(first.pid)
        async with unrenewed(world, post):
            (points / f"stop:{POINT}").touch()
            await eventually(lambda: process.status() == psutil.STATUS_STOPPED, PATIENCE)
        async with world.process(service_instance="second"):
            # The call that the first one has in hand still waits; the second one's is answered.
            job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
        assert job.last_owner == "second"
        made = await calls(world)
        await world.driver.admin("DELETE", "faults")
        process.resume()
        proof = world.post(await world.account("demo_private"), None)
        await world.accept(proof)
        await world.state(proof, State.FAILED, timeout=PATIENCE)
        first.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == 0
    left = await world.job(post)
    assert (left.lease_token, left.sequence) == (job.lease_token, job.sequence)
    await published_once(world, post)
    # The one that was in hand is counted when it ends; nothing has followed it.
    assert await calls(world) <= made + 1
