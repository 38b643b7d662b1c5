"""Paused between the check of its lease and the call, a process sends that call when others have finished: nothing goes out twice.

The process stops itself there: the check has passed and the call has not left. It goes on when another one has ended the job.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psutil
import pytest
import pytest_asyncio
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain.job import State
from tiktok_simulator.media_host import MediaHost, media_host

pytestmark = pytest.mark.integration

PATIENCE = 60.0
SHORT_LEASE_SECONDS = 6.0
"""That of the process that is paused; busy machines stall for less."""
ONE_PIECE = 200_000
"""So few bytes that they are read, and leave, at once: the stray call is a whole file."""
DATA = bytes(range(256)) * 4_000
INIT = "/v2/post/publish/video/init/"


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    return {"pull_loopback": True}


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


@asynccontextmanager
async def stray(
    world: Any,
    post: Any,
    point: str,
    *,
    wanted: State,
    is_out: Callable[[], Awaitable[bool]],
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Any]:
    """Stop a process at the point until another one has brought the post where it is wanted; then it goes on.

    Yields the job as the other one left it, once `is_out` says, without the jobs' table, that the stray call has had its effect.
    `meanwhile` happens before the process goes on. Both run until the block ends.
    """
    await world.accept(post)
    crashing = world.process(service_instance="stray", lease_seconds=SHORT_LEASE_SECONDS, crash_point=f"stop:{point}")
    async with crashing as paused:
        process = psutil.Process(paused.pid)
        await eventually(lambda: process.status() == psutil.STATUS_STOPPED, PATIENCE)
        async with world.process(service_instance="other"):
            job = await world.state(post, wanted, timeout=PATIENCE)
            assert job.last_owner == "other"
            if meanwhile is not None:
                await meanwhile()
            async with locked(world):
                process.resume()
                await eventually(is_out, PATIENCE)
            yield job


@asynccontextmanager
async def locked(world: Any) -> AsyncIterator[None]:
    """Let nobody read a job: who goes on hears nothing of its lease, and does not break off what it is about to send."""
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await tx.connection.execute(text("LOCK TABLE publish_jobs IN ACCESS EXCLUSIVE MODE"))
        yield


async def calls(world: Any, endpoint: str) -> int:
    return sum((await world.driver.stats())["requests"].get(endpoint, {}).values())


async def test_a_stray_init_of_a_file_publishes_nothing(processes: Any) -> None:
    world = processes
    post = world.post(await world.account(), world.media())

    async def is_made() -> bool:
        return await calls(world, INIT) == 2

    async with stray(world, post, "init_checked", wanted=State.SUCCEEDED, is_out=is_made) as job:
        (publication,) = await world.publications(post)
        assert publication["sha256"] == post.media.sha256
        assert sorted(item["bytes"] for item in await world.inits(post)) == [0, post.media.size_bytes]
    left = await world.job(post)
    assert (left.publish_id, left.lease_token) == (publication["publish_id"], job.lease_token)


async def test_a_stray_init_that_publishes_by_itself_is_the_only_one(processes: Any, host: MediaHost) -> None:
    """Nobody could know whether it was made, so nobody made it again."""
    world = processes
    post = world.post(await world.account(), None, transfer="pull", source_url=host.put("/a.mp4", DATA))

    async def is_published() -> bool:
        return [item["status"] for item in await world.publications(post)] == ["PUBLISH_COMPLETE"]

    async with stray(world, post, "init_checked", wanted=State.UNCONFIRMED, is_out=is_published):
        assert len(await world.inits(post)) == await calls(world, INIT) == 1
    assert "submitted" not in await world.told(post)


async def test_no_word_of_a_person_lets_another_init_out_beside_one_that_may_stray(processes: Any, host: MediaHost) -> None:
    """The owner has looked and seen nothing: right, and too early. The second attempt waits, and the stray call is the only one."""
    world = processes
    post = world.post(await world.account(), None, transfer="pull", source_url=host.put("/a.mp4", DATA))
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})

    async def vouched() -> None:
        await world.accept(second)
        await eventually(lambda: taken_up(0), PATIENCE)

    async def taken_up(deferrals: int) -> bool:
        """Whether it was decided about once more: it waits, or it has ended, as the first turned out to be live or by itself."""
        job = await world.job(second)
        if job.checkpoint.state.is_end:
            return True
        return job.checkpoint.deferrals > deferrals and await world.waits(second, "earlier_attempt_open")

    async def all_are_published() -> bool:
        items = await world.publications(post)
        made = len(await world.inits(post))
        return made == await calls(world, INIT) and {item["status"] for item in items} == {"PUBLISH_COMPLETE"}

    async with stray(world, post, "init_checked", wanted=State.UNCONFIRMED, is_out=all_are_published, meanwhile=vouched):
        async with world.database.transaction() as tx:
            due = text(
                "UPDATE publish_jobs SET run_at = clock_timestamp() WHERE post_id = :id AND attempt = 2"
                " AND state IN ('queued', 'running') RETURNING deferrals"
            )
            deferrals = await tx.connection.scalar(due, {"id": second.post_id})
        await eventually(lambda: taken_up(deferrals or 0), PATIENCE)
    assert len(await world.publications(post)) == await calls(world, INIT) == 1


async def test_the_last_bytes_that_stray_for_longer_than_their_address_lives_are_refused(world: Any) -> None:
    """In between their attempt has failed by TikTok's word, without which none would follow, and another one is published."""
    post = world.post(await world.account(), world.media(ONE_PIECE))
    second = post.model_copy(update={"attempt": 2})
    held, goes_on = asyncio.Event(), asyncio.Event()

    async def freeze(_: int) -> None:
        held.set()
        await goes_on.wait()

    async with world.replica(service_instance="frozen") as frozen:
        frozen.tools.bandwidth.take = freeze
        await world.accept(post)
        await asyncio.wait_for(held.wait(), PATIENCE)
        # For it no time passes: when it goes on, the check of its lease is behind it.
        (lease,) = frozen.heartbeat.held
        lease._clock = lambda: 0.0
        frozen.heartbeat.let_go(lease)
        for lane in frozen.lanes:
            await lane._loop.stop()
        await world.driver.advance(3_700)
        given_up = world.simulator.state.ledger.get((await world.job(post)).publish_id)
        world.simulator.state.processor.refuse(given_up, "internal")
        await world.due_now(post, upload_expires_at=await world.database_now() - timedelta(minutes=2))
        async with world.replica(service_instance="other"):
            await world.state(post, State.FAILED)
            await world.accept(second)
            await world.state(second, State.SUCCEEDED)
        goes_on.set()
        await eventually(lambda: frozen.lanes[0].running == 0)
    assert (await world.driver.stats())["requests"]["upload"] == {"201": 1, "403": 1}
    (publication,) = await world.publications(post)
    assert publication["publish_id"] == (await world.job(second)).publish_id


async def test_the_last_bytes_that_stray_are_taken_once(processes: Any) -> None:
    world = processes
    post = world.post(await world.account(), world.media(ONE_PIECE))

    async def is_answered() -> bool:
        return await calls(world, "upload") == 2

    async with stray(world, post, "piece_checked:0", wanted=State.SUCCEEDED, is_out=is_answered) as job:
        (publication,) = await world.publications(post)
        assert publication["sha256"] == post.media.sha256
        assert len(await world.inits(post)) == 1
    assert (await world.job(post)).lease_token == job.lease_token
