"""Paused between the check of its lease and the call, a process sends that call when others have finished: nothing goes out twice.

The process stops itself there: the check has passed and the call has not left. It goes on when another one has ended the job.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
    world: Any, post: Any, point: str, *, wanted: State, meanwhile: Callable[[], Awaitable[None]] | None = None, **changes: Any
) -> AsyncIterator[Any]:
    """Stop a process at the point until another one has brought the post where it is wanted; in the block it goes on.

    Yields the job as the other one left it. `meanwhile` happens before it goes on.
    """
    await world.accept(post)
    crashing = world.process(service_instance="stray", lease_seconds=SHORT_LEASE_SECONDS, crash_point=f"stop:{point}")
    async with crashing as paused:
        process = psutil.Process(paused.pid)
        await eventually(lambda: process.status() == psutil.STATUS_STOPPED, PATIENCE)
        async with world.process(service_instance="other", **changes):
            job = await world.state(post, wanted, timeout=PATIENCE)
            assert job.last_owner == "other"
            if meanwhile is not None:
                await meanwhile()
            async with locked(world, job):
                process.resume()
                yield job


@asynccontextmanager
async def locked(world: Any, job: Any) -> AsyncIterator[None]:
    """Keep the row to ourselves: who goes on hears nothing of its lease, and does not break off what it is about to send."""
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await tx.connection.execute(text("SELECT FROM publish_jobs WHERE id = :id FOR UPDATE"), {"id": job.id})
        yield


async def calls(world: Any, endpoint: str) -> int:
    return sum((await world.driver.stats())["requests"].get(endpoint, {}).values())


async def test_a_stray_init_of_a_file_publishes_nothing(processes: Any) -> None:
    world = processes
    post = world.post(await world.account(), world.media())
    async with stray(world, post, "init_checked", wanted=State.SUCCEEDED) as job:

        async def is_made() -> bool:
            return await calls(world, INIT) == 2

        await eventually(is_made, PATIENCE)
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert sorted(item["bytes"] for item in await world.inits(post)) == [0, post.media.size_bytes]
    left = await world.job(post)
    assert (left.publish_id, left.lease_token) == (publication["publish_id"], job.lease_token)


async def test_a_stray_init_that_publishes_by_itself_is_the_only_one(processes: Any, host: MediaHost) -> None:
    """Nobody could know whether it was made, so nobody made it again."""
    world = processes
    post = world.post(await world.account(), None, transfer="pull", source_url=host.put("/a.mp4", DATA))
    async with stray(world, post, "init_checked", wanted=State.UNCONFIRMED):

        async def is_published() -> bool:
            return [item["status"] for item in await world.publications(post)] == ["PUBLISH_COMPLETE"]

        await eventually(is_published, PATIENCE)
    assert len(await world.inits(post)) == await calls(world, INIT) == 1
    assert "submitted" not in await world.told(post)


async def test_no_word_of_a_person_lets_another_init_out_beside_one_that_may_stray(processes: Any, host: MediaHost) -> None:
    """The owner has looked and seen nothing: right, and too early. The second attempt waits, and the stray call is the only one."""
    world = processes
    post = world.post(await world.account(), None, transfer="pull", source_url=host.put("/a.mp4", DATA))
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})

    async def vouched() -> None:
        await world.accept(second)
        await eventually(taken_up, PATIENCE)

    async def taken_up() -> bool:
        """Whether it was decided about: it waits, or it has published, too."""
        is_published = (await world.job(second)).checkpoint.state is State.SUCCEEDED
        return is_published or await world.waits(second, "earlier_attempt_open")

    async with stray(world, post, "init_checked", wanted=State.UNCONFIRMED, meanwhile=vouched):

        async def all_are_published() -> bool:
            items = await world.publications(post)
            made = len(await world.inits(post))
            return made == await calls(world, INIT) and {item["status"] for item in items} == {"PUBLISH_COMPLETE"}

        await eventually(all_are_published, PATIENCE)
        async with world.database.transaction() as tx:
            due = text("UPDATE publish_jobs SET run_at = clock_timestamp() WHERE post_id = :id AND attempt = 2")
            await tx.connection.execute(due, {"id": second.post_id})
        await eventually(taken_up, PATIENCE)
    assert len(await world.publications(post)) == await calls(world, INIT) == 1


async def test_the_last_bytes_that_stray_are_taken_once(processes: Any) -> None:
    world = processes
    post = world.post(await world.account(), world.media(ONE_PIECE))
    async with stray(world, post, "piece_checked:0", wanted=State.SUCCEEDED) as job:

        async def is_answered() -> bool:
            return await calls(world, "upload") == 2

        await eventually(is_answered, PATIENCE)
    (publication,) = await world.publications(post)
    assert publication["sha256"] == post.media.sha256
    assert len(await world.inits(post)) == 1
    assert (await world.job(post)).lease_token == job.lease_token
