"""One user's many jobs hold up no other's: places are shared out, and a claim looks past those who have their share."""

import asyncio
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common.ids import uuid7
from common.testing.eventually import eventually
from publisher.domain.job import Lane, State
from publisher.domain.shares import Places
from publisher.loops import lane_runner
from publisher.runner.run import JobRun
from publisher.storage import jobs
from publisher.storage.jobs import Claim

CROWD = 10_000

MORE_OF_IT = """
INSERT INTO publish_jobs (id, post_id, attempt, post, user_id, account_id, due_at, publish_before, state, step, run_at, sequence)
SELECT made.id, made.id, 1, jsonb_set(post, '{post_id}', to_jsonb(made.id)), user_id, account_id, due_at, publish_before, state,
       step, run_at - :hours * interval '1 hour' + n * interval '1 millisecond', sequence
FROM publish_jobs, LATERAL (SELECT n, gen_random_uuid() AS id FROM generate_series(1, :number) AS n) AS made
WHERE post_id = :post_id
"""

pytestmark = pytest.mark.integration


async def crowd(world: Any, number: int = CROWD, *, hours: int = 1) -> UUID:
    """Let so many jobs of one user be due for so long; returns the user."""
    user_id: UUID = uuid7()
    first = world.post(uuid7(), None, user_id=user_id)
    await world.accept(first)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(MORE_OF_IT), {"number": number - 1, "post_id": first.post_id, "hours": hours})
    return user_id


async def claim(world: Any, places: Places | None, *, limit: int = 100, **options: Any) -> Claim:
    lease = timedelta(seconds=60)
    async with world.database.transaction() as tx:
        return await jobs.claim(tx.connection, Lane.SEND, owner="one", lease=lease, limit=limit, places=places, **options)


def users(claimed: Claim) -> Counter[UUID]:
    return Counter(job.post.user_id for job in claimed.jobs)


async def test_a_single_job_is_claimed_with_the_first_of_ten_thousand(world: Any) -> None:
    many = await crowd(world)
    single = world.post(uuid7(), None)
    await world.accept(single)
    claimed = await claim(world, Places(4), limit=4)
    assert users(claimed) == {many: 2, single.user_id: 1}
    assert claimed.left_out


async def test_it_is_claimed_while_the_others_have_all_the_places_they_may_have(world: Any) -> None:
    many = await crowd(world)
    held = Places(2, {many: 2})
    assert await claim(world, held, limit=2) == Claim((), (), None, True)
    single = world.post(uuid7(), None)
    await world.accept(single)
    assert users(await claim(world, held, limit=2)) == {single.user_id: 1}


async def test_behind_several_crowds_all_others_get_a_share(world: Any) -> None:
    crowds = [await crowd(world, 300, hours=3 - number) for number in range(3)]
    singles = [world.post(uuid7(), None) for _ in range(30)]
    await world.accept(*singles)
    claimed = users(await claim(world, Places(200)))
    # The first has its share of the claim; it looks past it, and of those who come behind each gets as good a share.
    assert claimed == {crowds[0]: 50, crowds[1]: 1, crowds[2]: 1, **{post.user_id: 1 for post in singles}}
    left = users(await claim(world, Places(100, {crowds[0]: 100})))
    assert left == {crowds[1]: 50, crowds[2]: 25}


async def test_with_a_small_head_the_places_are_filled_from_behind_it(world: Any) -> None:
    many = await crowd(world, 20)
    singles = [world.post(uuid7(), None) for _ in range(6)]
    await world.accept(*singles)
    claimed = await claim(world, Places(20, {many: 14}), limit=10, head=4)
    assert users(claimed) == {many: 3, **{post.user_id: 1 for post in singles}}


async def test_without_looking_past_only_the_earliest_are_taken(world: Any) -> None:
    many = await crowd(world, 20)
    await world.accept(world.post(uuid7(), None))
    claimed = await claim(world, Places(8), limit=8, look_past=False)
    assert users(claimed) == {many: 4}
    assert claimed.left_out


async def test_the_jobs_of_one_user_are_taken_in_their_order(world: Any) -> None:
    await crowd(world, 50)
    async with world.database.read() as connection:
        order = list(await connection.scalars(text("SELECT id FROM publish_jobs ORDER BY run_at")))
    taken: list[UUID] = []
    while len(taken) < 50:
        claimed = await claim(world, Places(8), limit=8)
        taken += [job.id for job in claimed.jobs]
    assert taken == order


async def test_replicas_share_a_crowd_and_find_who_is_behind_it_once(world: Any) -> None:
    many = await crowd(world, 1_000)
    singles = [world.post(uuid7(), None) for _ in range(10)]
    await world.accept(*singles)
    claims = await asyncio.gather(*(claim(world, Places(40), limit=40) for _ in range(4)))
    taken = [job.post_id for claimed in claims for job in claimed.jobs]
    assert len(taken) == len(set(taken))
    assert {post.post_id for post in singles} <= set(taken)
    assert sum(users(claimed)[many] for claimed in claims) == 4 * 20


async def test_a_replica_begins_anothers_post_while_one_user_fills_its_places(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever of the many has a place keeps it; the other user's post, which comes last, is published meanwhile."""
    account, another = await world.account("demo_public"), await world.account("demo_private")
    media, user_id = world.media(), uuid7()
    many = [world.post(account, media, user_id=user_id) for _ in range(20)]
    single = world.post(another, media, content={"privacy_level": "SELF_ONLY"})
    never = asyncio.Event()

    async def perform(run: JobRun) -> None:
        if run.job.post.user_id == user_id:
            await never.wait()
        await runner.perform(run)

    runner = SimpleNamespace(perform=lane_runner.perform)
    monkeypatch.setattr(lane_runner, "perform", perform)
    async with world.replica(max_jobs_in_flight=4, lease_seconds=60.0) as replica:
        send, _ = replica.lanes
        await world.accept(*many)
        send.wake()
        await eventually(lambda: send.running == 2, 60)
        await world.accept(single)
        send.wake()
        await world.state(single, State.SUCCEEDED)
        await eventually(lambda: send.running == 2, 60)
