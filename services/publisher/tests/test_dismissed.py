"""An attempt of unknown outcome stops every later one, until a person says that it was not published."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain.job import State


async def unconfirmed(world: Any) -> Any:
    """Return a post whose first attempt ended without an outcome."""
    post = world.post(await world.account(), world.media())
    await world.accept(post)
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE publish_jobs SET state = 'unconfirmed', step = 'polling', run_at = NULL, finished_at = now()")
        )
    return post


async def test_without_the_word_the_next_attempt_waits(world: Any) -> None:
    post = await unconfirmed(world)
    second = post.model_copy(update={"attempt": 2})
    async with world.replica():
        await world.accept(second)
        await eventually(lambda: world.waits(second, "earlier_attempt_open"))
        assert not await world.inits(post)


async def test_with_the_word_it_starts_at_once(world: Any) -> None:
    post = await unconfirmed(world)
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})
    async with world.replica():
        await world.accept(second)
        job = await world.state(second, State.SUCCEEDED)
    assert job.attempt == 2
    assert len(await world.publications(post)) == 1


@pytest.mark.parametrize("state", ["running", "queued"])
async def test_the_word_does_not_let_it_start_beside_one_that_runs(world: Any, state: str) -> None:
    post = await unconfirmed(world)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE publish_jobs SET state = :state"), {"state": state})
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})
    async with world.replica():
        await world.accept(second)
        await eventually(lambda: world.waits(second, "earlier_attempt_open"))
        assert not await world.inits(post)


@pytest.mark.parametrize("change", ["state = 'elsewhere'", "transfer = 'elsewhere'"])
@pytest.mark.parametrize("dismissed", [0, 1])
async def test_one_that_cannot_be_read_may_still_publish_and_stops_no_other_post(
    world: Any, change: str, dismissed: int
) -> None:
    post = await unconfirmed(world)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET {change}"))
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": dismissed})
    other = world.post(post.account_id, world.media())
    async with world.replica() as replica:
        await world.accept(second, other)
        await world.state(other, State.SUCCEEDED)
        await eventually(lambda: world.waits(second, "earlier_attempt_open"))
        assert replica.lanes[0].healthy() is None
    assert not await world.inits(post)


async def test_evidence_counts_more_than_the_word(world: Any) -> None:
    post = await unconfirmed(world)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE publish_jobs SET state = 'succeeded'"))
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})
    async with world.replica():
        await world.accept(second)
        await world.state(second, State.CANCELLED)
    assert not await world.inits(post)


async def test_the_word_waits_while_what_tiktok_told_last_is_that_it_works_on_it(world: Any) -> None:
    post = await unconfirmed(world)
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})
    await change(world, "tiktok_status = 'PROCESSING_UPLOAD', status_at = now(), answered_at = now() WHERE attempt = 1")
    async with world.replica() as replica:
        await world.accept(second)
        await eventually(lambda: world.waits(second, "earlier_attempt_open"))
        await change(world, "answered_at = now() WHERE attempt = 1")
        await change(world, "run_at = now() WHERE attempt = 2")
        replica.lanes[0].wake()
        await world.state(second, State.SUCCEEDED)
    assert len(await world.publications(post)) == 1


async def change(world: Any, values: str) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET {values}"))


async def test_the_word_about_an_init_without_an_answer_counts_an_hour_later(world: Any) -> None:
    post = await unconfirmed(world)
    second = post.model_copy(update={"attempt": 2, "dismissed_attempts": 1})
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE publish_jobs SET transfer = 'pull', step = 'init_intended'"))
    async with world.replica() as replica:
        await world.accept(second)
        await eventually(lambda: world.waits(second, "earlier_attempt_open"))
        async with world.database.transaction() as tx:
            ended = text("UPDATE publish_jobs SET finished_at = finished_at - CAST(:ago AS interval) WHERE attempt = 1")
            await tx.connection.execute(ended, {"ago": timedelta(hours=1)})
            await tx.connection.execute(text("UPDATE publish_jobs SET run_at = now() WHERE attempt = 2"))
        replica.lanes[0].wake()
        job = await world.state(second, State.SUCCEEDED)
    assert job.attempt == 2
    assert len(await world.publications(post)) == 1
