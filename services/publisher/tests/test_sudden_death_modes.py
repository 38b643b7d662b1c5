"""The process dies or hangs at the named point in the other modes, and another one finishes what it may.

A draft by upload is delivered once. What TikTok fetches itself is published once, or unconfirmed with one publication or none.
"""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from common.testing.eventually import eventually
from publisher.domain.job import State, Step
from publisher.settings import Settings
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from tiktok_simulator.media_host import MediaHost, Resource, media_host

pytestmark = pytest.mark.integration

SEVERAL_CHUNKS = 66_000_000
PATIENCE = 90.0
"""Seconds for whatever is waited for: on a busy machine a process alone takes a while to start."""
SHORT_LEASE_SECONDS = 6.0
"""That of a process that is paused; busy machines stall for less."""
DATA = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(DATA).hexdigest()
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
INIT = "/v2/post/publish/video/init/"


@pytest.fixture
def simulator_changes() -> dict[str, Any]:
    return {"pull_loopback": True}


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


async def pull_of(world: Any, host: MediaHost, mode: str = "direct", **resource: Any) -> Any:
    url = host.put("/a.mp4", Resource(DATA, **resource))
    return world.post(await world.account(), None, transfer="pull", source_url=url, mode=mode)


async def killed_at(world: Any, post: Any, point: str, *, wanted: State, cancel: bool = False) -> Any:
    """Return the job after one process died at the point and another one took over."""
    await world.accept(post)
    async with world.process(service_instance="first", crash_point=point) as first:
        if cancel:
            await eventually(lambda: fetching(world, post), PATIENCE)
            assert await cancelled(world, post) is CancelOutcome.UNDECIDED
        async with asyncio.timeout(PATIENCE):
            assert await first.wait() == -signal.SIGKILL
        assert not (await world.job(post)).checkpoint.state.is_end
        await world.end_leases("first")
        async with world.process(service_instance="second"):
            job = await world.state(post, wanted, timeout=PATIENCE)
    assert job.last_owner == "second"
    return job


@pytest.mark.parametrize(
    ("point", "size", "abandoned"),
    [("after_init_answer", 1_000_000, 1), ("mid_chunk:3", SEVERAL_CHUNKS, 0), ("after_last_chunk", 1_000_000, 0)],
)
async def test_a_draft_is_delivered_once(processes: Any, point: str, size: int, abandoned: int) -> None:
    world = processes
    post = world.post(await world.account(), world.media(size), mode="inbox", content={"privacy_level": None})
    job = await killed_at(world, post, point, wanted=State.SUCCEEDED)
    assert job.checkpoint.outcome == "sent_to_inbox"
    ledger = await world.driver.ledger()
    assert [item["sha256"] for item in ledger if item["bytes"]] == [post.media.sha256]
    assert len(ledger) == 1 + abandoned


@pytest.mark.parametrize(
    ("point", "mode", "state", "publications"),
    [
        ("after_init_intent", "direct", State.UNCONFIRMED, 0),
        ("after_init_answer", "inbox", State.UNCONFIRMED, 1),
        ("while_polling", "direct", State.SUCCEEDED, 1),
    ],
)
async def test_a_pull_is_published_once_or_not_known(
    processes: Any, host: MediaHost, point: str, mode: str, state: State, publications: int
) -> None:
    world = processes
    post = await pull_of(world, host, mode)
    await killed_at(world, post, point, wanted=state)
    assert await published(world) == [SHA256] * publications
    assert len(await world.driver.ledger()) == publications


@pytest.mark.parametrize(
    ("point", "mode", "state", "publications"),
    [
        ("after_init_intent", "inbox", State.UNCONFIRMED, 0),
        ("after_init_answer", "direct", State.UNCONFIRMED, 1),
        ("while_polling", "inbox", State.SUCCEEDED, 1),
    ],
)
async def test_photos_are_published_once_or_not_known(
    processes: Any, host: MediaHost, point: str, mode: str, state: State, publications: int
) -> None:
    world = processes
    urls = [host.put(f"/{number}.jpg", bytes([number]) * 1_000) for number in range(3)]
    post = world.post(await world.account(), None, photo_urls=urls, mode=mode)
    await killed_at(world, post, point, wanted=state)
    assert len(await published(world)) == publications
    assert len(await world.driver.ledger()) == publications


async def test_a_fetch_that_tiktok_gave_up_is_cancelled_although_its_answer_was_lost(processes: Any, host: MediaHost) -> None:
    world = processes
    post = await pull_of(world, host, stop_after=1000)
    await killed_at(world, post, "after_cancel_answer", wanted=State.CANCELLED, cancel=True)
    assert await published(world) == []
    (item,) = await world.driver.ledger()
    assert item["fail_reason"] == "publish_cancelled"


async def test_paused_before_its_init_it_makes_none(processes: Any, host: MediaHost) -> None:
    """It stores the intent under its fencing token first, and that is over."""
    world = processes
    post = await pull_of(world, host)
    await world.driver.fault(CREATOR_INFO, delay=30)
    await paused_while(world, host, post, Step.CREATOR_INFO, wanted=State.SUCCEEDED)
    assert len(await world.inits(post)) == 1
    assert (await world.told(post)).count("submitted") == 1


async def test_paused_during_its_init_it_stores_nothing_of_the_answer(processes: Any, host: MediaHost) -> None:
    world = processes
    post = await pull_of(world, host)
    await world.driver.fault(INIT, delay=30)
    await paused_while(world, host, post, Step.INIT_INTENDED, wanted=State.UNCONFIRMED)
    assert len(await world.inits(post)) <= 1
    assert (await world.told(post))[:2] == ["started", "unconfirmed"]
    assert "submitted" not in await world.told(post)


async def test_asked_to_end_during_its_init_it_waits_for_the_answer(processes: Any, host: MediaHost) -> None:
    """With the times that hold where nothing is set."""
    world = processes
    post = await pull_of(world, host)
    await world.driver.fault(INIT, delay=8)
    await world.accept(post)
    times = {name: Settings.model_fields[name].default for name in ("drain_seconds", "shutdown_grace_seconds")}
    async with world.process(service_instance="ending", **times) as ending:
        await eventually(lambda: calling(world, post, Step.INIT_INTENDED), PATIENCE)
        ending.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await ending.wait() == 0
    left = await world.job(post)
    assert (left.checkpoint.step, left.lease_owner, left.publish_id is None) == (Step.UPLOADED, None, False)
    async with world.process(service_instance="next"):
        await world.state(post, State.SUCCEEDED, timeout=PATIENCE)
    assert await published(world) == [SHA256]
    assert len(await world.inits(post)) == 1


async def paused_while(world: Any, host: MediaHost, post: Any, step: Step, *, wanted: State) -> None:
    """Stop the process that is at a step beyond its lease, until another one has brought the post where it is wanted.

    Then it goes on, and shows with another post that it is alive.
    """
    await world.accept(post)
    async with world.process(service_instance="paused", lease_seconds=SHORT_LEASE_SECONDS) as paused:
        await eventually(lambda: calling(world, post, step), PATIENCE)
        os.kill(paused.pid, signal.SIGSTOP)
        async with world.process(service_instance="other"):
            job = await world.state(post, wanted, timeout=PATIENCE)
        assert job.last_owner == "other"
        await world.driver.admin("DELETE", "faults")
        os.kill(paused.pid, signal.SIGCONT)
        proof = await pull_of(world, host)
        await world.accept(proof)
        assert (await world.state(proof, State.SUCCEEDED, timeout=PATIENCE)).last_owner == "paused"
        paused.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await paused.wait() == 0


async def published(world: Any) -> list[str]:
    await eventually(lambda: all_ended(world), PATIENCE)
    return [item["sha256"] for item in await world.driver.ledger() if item["status"] != "FAILED"]


async def all_ended(world: Any) -> bool:
    return all(item["status"] in {"PUBLISH_COMPLETE", "SEND_TO_USER_INBOX", "FAILED"} for item in await world.driver.ledger())


async def fetching(world: Any, post: Any) -> bool:
    return bool((await world.job(post)).tiktok_status == "PROCESSING_DOWNLOAD")


async def calling(world: Any, post: Any, step: Step) -> bool:
    """Whether the fault of this step was met: the call is under way."""
    return bool((await world.job(post)).checkpoint.step is step and not await world.driver.faults())


async def cancelled(world: Any, post: Any) -> CancelOutcome:
    async with world.database.transaction() as tx:
        return await cancel_job(tx, post.post_id, post.attempt, outbox=world.outbox, replica="test")
