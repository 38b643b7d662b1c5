"""A process dies (SIGKILL) or is paused while it fetches a file, and another one finishes: one publication, of the right bytes."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.testing.eventually import eventually
from common.testing.file_host import Act, FileHost, file_host, video_bytes
from publisher.clients.fetched_files import FetchedFiles
from publisher.domain.job import State, Step
from publisher.loops.fetched_files import FetchedFilesCleanup

pytestmark = pytest.mark.integration

SIZE = 12_000_000
PATIENCE = 90.0
"""Seconds for whatever is waited for: on a busy machine a process alone takes a while to start."""
BEFORE, AFTER = video_bytes(SIZE, 1), video_bytes(SIZE, 2)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    async with file_host() as host:
        yield host


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("point", "is_bound"), [("mid_fetch", False), ("after_fetch", False), ("after_fetch_stored", True)])
async def test_killed_at(processes: Any, host: FileHost, point: str, is_bound: bool) -> None:
    """The file at the address changes at the death: only bytes that were checkpointed bind the next replica."""
    world = processes
    post = world.post_from(await world.account(), host.put("/v.mp4", Act(BEFORE, etag='"1"')))
    await world.accept(post)
    async with world.process(service_instance="first", crash_point=point) as first:
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == -signal.SIGKILL
    assert not (await world.job(post)).checkpoint.state.is_end
    await world.end_leases("first")
    asked_before = len(host.asked)
    host.put("/v.mp4", Act(AFTER, etag='"2"'))
    async with world.process(service_instance="second"):
        job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    wanted = sha256(BEFORE if is_bound else AFTER)
    assert (job.last_owner, job.fetched.sha256) == ("second", wanted)
    assert [item["sha256"] for item in await world.publications(post)] == [wanted]
    assert (len(host.asked) == asked_before) == is_bound
    await _nothing_is_left(world)


async def test_paused_beyond_its_lease_it_changes_nothing(processes: Any, host: FileHost) -> None:
    world = processes
    stopping = Act(BEFORE, etag='"1"', stop_after=SIZE // 2)
    post = world.post_from(await world.account(), host.put("/v.mp4", stopping, Act(AFTER, etag='"2"')))
    await world.accept(post)
    async with world.process(service_instance="paused", lease_seconds=6.0) as paused:
        await asyncio.wait_for(host.reached.wait(), PATIENCE)
        await eventually(lambda: _is_fetching(world, post), PATIENCE)
        os.kill(paused.pid, signal.SIGSTOP)
        async with world.process(service_instance="other"):
            job = await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
            os.kill(paused.pid, signal.SIGCONT)
            stopping.go_on.set()
            paused.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                assert await paused.wait() == 0
    assert job.last_owner == "other"
    assert [item["sha256"] for item in await world.publications(post)] == [sha256(AFTER)]
    assert (await world.job(post)).fetched.sha256 == sha256(AFTER)
    await _nothing_is_left(world)


async def test_asked_to_end_it_hands_back_at_once(processes: Any, host: FileHost) -> None:
    world = processes
    url = host.put("/v.mp4", Act(BEFORE, etag='"1"', stop_after=SIZE // 2), Act(BEFORE, etag='"1"'))
    post = world.post_from(await world.account(), url)
    await world.accept(post)
    async with world.process(service_instance="ending", lease_seconds=60.0) as ending:
        await asyncio.wait_for(host.reached.wait(), PATIENCE)
        ending.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await ending.wait() == 0
        assert (await world.job(post)).lease_owner is None
        assert not list((world.folder / "fetched").glob("*"))
        async with world.process(service_instance="next"):
            await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    assert [item["sha256"] for item in await world.publications(post)] == [sha256(BEFORE)]


async def _is_fetching(world: Any, post: Any) -> bool:
    return (await world.job(post)).checkpoint.step is Step.FETCHING


async def _nothing_is_left(world: Any) -> None:
    """Check that an hour later both the file of the ended job and what the dead left are gone."""
    for path in (world.folder / "fetched").iterdir():
        os.utime(path, (0, 0))
    cleanup = FetchedFilesCleanup(world.database, FetchedFiles(f"file://{world.folder}"))
    await cleanup.remove_ended()
    await cleanup.remove_left()
    assert not list((world.folder / "fetched").glob("*"))
