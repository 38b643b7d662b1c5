"""Cancelling at every step of a job that really runs: before anything may be out it never goes out, and after it is too late.

Whatever the step, the message that told of the attempt may come (again) after the cancellation, and starts nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from common.ids import uuid7
from common.testing.eventually import eventually
from publisher.domain.job import State, Step
from publisher.usecases.cancel_job import CancelOutcome, cancel_job

BIG = 71_000_000
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
CANCELLED, TOO_LATE = CancelOutcome.CANCELLED, CancelOutcome.TOO_LATE


async def cancel(world: Any, post: Any) -> CancelOutcome:
    async with world.database.transaction() as tx:
        return await cancel_job(tx, post.post_id, post.attempt, outbox=world.outbox, replica="test")


async def told_again(world: Any, post: Any) -> None:
    """Deliver the message that told of the attempt once more: it is answered and starts nothing."""
    assert await world.accept(post) == 0
    last = (await world.events(post))[-1]
    assert (last.key, last.data["again"]) == ("publisher.publish.cancelled.v1", True)


@asynccontextmanager
async def held_at(world: Any, replica: Any, post: Any, step: str) -> AsyncIterator[None]:
    """Bring a post to a step of its job and hold it there for the block."""
    async with AsyncExitStack() as stack:
        match step:
            case "creator info":
                await world.driver.fault(CREATOR_INFO, delay=600)
            case "before the first byte":
                # The only place for bytes is taken by another user.
                await stack.enter_async_context(replica.tools.places.place(uuid7(), uuid7()))
            case "first chunk":
                await world.driver.fault("upload", delay=600)
            case "between chunks":
                await world.driver.fault("upload", delay=600, skip=2, delay_at="answer")
            case "last chunk":
                await world.driver.fault("upload", delay=600, skip=6, delay_at="answer")
            case "processing":
                await world.driver.fault("processing", stuck=True)
        await world.accept(post)
        match step:
            case "before the first byte":
                await eventually(lambda: _is_at(world, post, Step.INIT_DONE))
            case "processing":
                await world.told_of(post, "submitted")
            case _:
                await eventually(lambda: _no_faults(world))
        yield
    await world.driver.admin("DELETE", "faults")


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        ("creator info", CANCELLED),
        ("before the first byte", CANCELLED),
        ("first chunk", TOO_LATE),
        ("between chunks", TOO_LATE),
        ("last chunk", TOO_LATE),
        ("processing", TOO_LATE),
    ],
)
async def test_while_it_is_held_there(world: Any, step: str, outcome: CancelOutcome) -> None:
    post = world.post(await world.account(), world.media(BIG))
    async with world.replica(upload_concurrency=1) as replica:
        async with held_at(world, replica, post, step):
            assert await cancel(world, post) is outcome
            assert await cancel(world, post) is outcome
        if outcome is CANCELLED:
            await told_again(world, post)
            await eventually(lambda: replica.lanes[0].running == 0)
        elif step != "processing":
            await world.state(post, State.SUCCEEDED, timeout=60)
    assert len(await world.publications(post)) == (outcome is TOO_LATE)
    assert (await world.job(post)).checkpoint.state is not State.FAILED


@pytest.mark.parametrize("moment", ["accounts is asked", "the init is about to be made", "the init was answered"])
async def test_in_the_middle_of_a_step(world: Any, moment: str) -> None:
    post = world.post(await world.account(), world.media())
    outcomes: list[CancelOutcome] = []

    async def now() -> None:
        world.accounts.meanwhile = None
        outcomes.append(await cancel(world, post))

    async with world.replica() as replica:
        init = replica.tools.tiktok.init_video

        async def overtaken(*arguments: Any) -> Any:
            if moment == "the init is about to be made":
                await now()
            answer = await init(*arguments)
            if moment == "the init was answered":
                await now()
            return answer

        replica.tools.tiktok.init_video = overtaken
        if moment == "accounts is asked":
            world.accounts.meanwhile = now
        await world.accept(post)
        await eventually(lambda: outcomes == [CANCELLED])
        await eventually(lambda: replica.lanes[0].running == 0)
        await told_again(world, post)
    assert (await world.told(post))[:2] == ["started", "cancelled"]
    assert not await world.publications(post)


async def test_before_it_is_taken_up_and_before_it_is_heard_of(world: Any) -> None:
    heard, unheard = [world.post(await world.account(), world.media()) for _ in range(2)]
    await world.accept(heard)
    for post in (heard, unheard):
        assert await cancel(world, post) is CANCELLED
    async with world.replica() as replica:
        await told_again(world, heard)
        # The tombstone is told as cancelled with the message that it voids, and again with any further one.
        assert await world.accept(unheard) == 0
        assert await world.told(unheard) == ["cancelled"]
        await told_again(world, unheard)
        assert replica.lanes[0].running == 0
    for post in (heard, unheard):
        assert not await world.inits(post)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("succeeded", TOO_LATE), ("unconfirmed", TOO_LATE), ("failed", CANCELLED), ("cancelled", CANCELLED)],
)
async def test_after_its_end(world: Any, state: str, outcome: CancelOutcome) -> None:
    from sqlalchemy import text

    post = world.post(await world.account(), None)
    await world.accept(post)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE publish_jobs SET state = :state, run_at = NULL"), {"state": state})
    assert await cancel(world, post) is outcome
    assert (await world.job(post)).checkpoint.state.value == state


async def _is_at(world: Any, post: Any, step: Step) -> bool:
    job = await world.job(post)
    return bool(job.checkpoint.step is step and job.reason is not None)


async def _no_faults(world: Any) -> bool:
    return not await world.driver.faults()
