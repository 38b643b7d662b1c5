"""PostDue told twice, late, in disorder; tombstones; the gate between attempts."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import text, update

from common.database import Transaction
from common.ids import uuid7
from publisher.domain.job import Lane, State
from publisher.storage.tables import publish_jobs
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from publisher.usecases.claim_jobs import Claimed, claim_jobs

LEASE = timedelta(seconds=30)


async def claim(world: Any, owner: str = "one") -> Claimed:
    async with world.database.transaction() as tx:
        return await claim_jobs(tx, Lane.SEND, owner=owner, lease=LEASE, limit=100, vouch_after=LEASE, outbox=world.outbox)


async def cancel(world: Any, post: Any, attempt: int = 1) -> CancelOutcome:
    async with world.database.transaction() as tx:
        return await cancel_job(tx, post.post_id, attempt, outbox=world.outbox, replica="test")


async def set_state(world: Any, post: Any, state: State, attempt: int = 1) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            update(publish_jobs)
            .where(publish_jobs.c.post_id == post.post_id, publish_jobs.c.attempt == attempt)
            .values(state=state.value, run_at=None, lease_owner=None)
        )


def next_attempt(post: Any, attempt: int) -> Any:
    return post.model_copy(update={"attempt": attempt})


async def test_an_attempt_told_again_is_answered_with_its_latest_event(world: Any) -> None:
    post = world.post(uuid7(), None)
    assert await world.accept(post, post) == 1
    assert await world.accept(post) == 0
    assert await world.told(post) == []
    await claim(world)
    assert await world.accept(post) == 0
    first, again = await world.events(post)
    assert first.key == again.key == "publisher.publish.started.v1"
    assert ({**first.data, "again": True}, first.sequence) == (again.data, again.sequence)
    assert first.id != again.id


async def test_a_lower_attempt_is_answered_with_the_latest_ones_event(world: Any) -> None:
    post = world.post(uuid7(), None, attempt=3)
    await world.accept(post)
    await claim(world)
    assert await world.accept(next_attempt(post, 2)) == 0
    assert [event.data["attempt"] for event in await world.events(post)] == [3, 3]
    assert not (await claim(world)).jobs


async def test_an_attempt_whose_state_is_not_known_holds_up_no_other_post(world: Any) -> None:
    strange, other = (world.post(uuid7(), None) for _ in range(2))
    await world.accept(strange)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE publish_jobs SET state = 'elsewhere'"))
    assert await world.accept(strange, other) == 1


async def test_the_same_batch_twice_at_once_makes_each_job_once(world: Any) -> None:
    posts = [world.post(uuid7(), None) for _ in range(50)]
    counts = await asyncio.gather(*(world.accept(*order) for order in (posts, posts[::-1], posts)))
    assert sum(counts) == 50


async def test_two_attempts_at_once_run_one_after_the_other(world: Any) -> None:
    post = world.post(uuid7(), None)
    later = next_attempt(post, 2)
    await world.accept(post)
    assert [job.attempt for job in (await claim(world)).jobs] == [1]
    await world.accept(later)
    assert not (await claim(world)).jobs
    assert (await world.event(post, "deferred"))["code"] == "earlier_attempt_open"
    async with world.database.transaction() as tx:
        await _due_now(tx)
    assert not (await claim(world)).jobs
    assert (await world.told(post)).count("deferred") == 1
    await set_state(world, post, State.FAILED)
    async with world.database.transaction() as tx:
        await _due_now(tx)
    assert [job.attempt for job in (await claim(world)).jobs] == [2]


async def test_of_two_attempts_never_started_only_the_later_one_runs(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post, next_attempt(post, 2))
    assert [job.attempt for job in (await claim(world)).jobs] == [2]
    assert (await world.event(post, "failed"))["code"] == "superseded"
    assert await world.told(post) == ["failed", "started"]


async def test_after_a_success_a_later_attempt_is_stopped(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    await claim(world)
    await set_state(world, post, State.SUCCEEDED)
    await world.accept(next_attempt(post, 2))
    assert not (await claim(world)).jobs
    assert (await world.event(post, "cancelled"))["attempt"] == 2
    assert (await world.job(post)).checkpoint.state is State.CANCELLED


async def test_waiting_for_an_unconfirmed_attempt_ends_at_the_deadline(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    await claim(world)
    await set_state(world, post, State.UNCONFIRMED)
    late = next_attempt(post, 2).model_copy(update={"publish_before": await world.database_now()})
    await world.accept(late)
    assert not (await claim(world)).jobs
    assert (await world.event(post, "failed"))["code"] == "deadline_passed"


async def test_cancelled_before_it_starts_it_never_runs(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    assert await cancel(world, post) is CancelOutcome.CANCELLED
    assert await cancel(world, post) is CancelOutcome.CANCELLED
    assert not (await claim(world)).jobs
    assert await world.told(post) == ["cancelled"]
    await world.accept(post)
    assert await world.told(post) == ["cancelled", "cancelled"]


async def test_cancelled_before_it_was_heard_of_it_never_runs(world: Any) -> None:
    post = world.post(uuid7(), None)
    assert await cancel(world, post) is CancelOutcome.CANCELLED
    assert await cancel(world, post) is CancelOutcome.CANCELLED
    assert await world.accept(post, post) == 0
    assert not (await claim(world)).jobs
    assert await world.told(post) == ["cancelled"]
    assert (await world.event(post, "cancelled"))["account_id"] == str(post.account_id)
    assert await world.accept(post) == 0
    assert len(await world.events(post)) == 2
    assert (await world.job(post)).checkpoint.state is State.CANCELLED


async def test_a_lower_attempt_than_a_tombstone_is_void_without_a_word(world: Any) -> None:
    post = world.post(uuid7(), None)
    await cancel(world, post, 2)
    assert await world.accept(post) == 0
    assert await world.events(post) == []


async def test_cancelling_and_hearing_of_it_at_once_agree(world: Any) -> None:
    for _ in range(10):
        post = world.post(uuid7(), None)
        outcome, _ = await asyncio.gather(cancel(world, post), world.accept(post))
        assert outcome is CancelOutcome.CANCELLED
        assert not (await claim(world)).jobs


async def test_once_a_byte_may_be_out_it_is_too_late(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    await claim(world)
    async with world.database.transaction() as tx:
        await tx.connection.execute(update(publish_jobs).values(irrevocable_since=await world.database_now()))
    assert await cancel(world, post) is CancelOutcome.TOO_LATE
    await set_state(world, post, State.FAILED)
    assert await cancel(world, post) is CancelOutcome.CANCELLED
    await set_state(world, post, State.UNCONFIRMED)
    assert await cancel(world, post) is CancelOutcome.TOO_LATE


async def test_sequences_of_a_later_attempt_count_on(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    first = (await claim(world)).jobs[0]
    await set_state(world, post, State.FAILED)
    await world.accept(next_attempt(post, 2))
    second = (await claim(world)).jobs[0]
    assert second.sequence > first.sequence + 1_000


async def _due_now(tx: Transaction) -> None:
    await tx.connection.execute(
        update(publish_jobs).where(publish_jobs.c.state == State.QUEUED.value).values(run_at=publish_jobs.c.created_at)
    )
