"""Claims, leases and fencing on a real database."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from common.clock import utc_now
from common.contracts.scheduler import PostDue
from common.ids import uuid7
from publisher.domain.job import Lane, State
from publisher.errors import LeaseLost
from publisher.loops.heartbeat import Heartbeat
from publisher.runner.lease import Lease
from publisher.storage import jobs
from publisher.storage.job import Job, StoredEvent
from publisher.storage.tables import publish_jobs
from publisher.usecases.claim_jobs import claim_jobs

LEASE = timedelta(minutes=2)
SHORT = timedelta(seconds=0.05)


async def claim(world: Any, owner: str = "one", *, lease: timedelta = LEASE, limit: int = 100) -> list[Job]:
    async with world.database.transaction() as tx:
        claimed = await jobs.claim(tx.connection, Lane.SEND, owner=owner, lease=lease, limit=limit)
    return list(claimed.jobs)


async def opened(world: Any) -> list[Job]:
    async with world.database.transaction() as tx:
        claimed = await claim_jobs(tx, Lane.SEND, owner="one", lease=LEASE, limit=10, vouch_after=LEASE, outbox=world.outbox)
    return list(claimed.jobs)


async def save(world: Any, job: Job, **arguments: Any) -> Job:
    async with world.database.transaction() as tx:
        return await jobs.save(tx.connection, job.id, job.lease_token, {"deferrals": 7}, **arguments)


async def posts(world: Any, count: int) -> None:
    await world.accept(*(world.post(uuid7(), None) for _ in range(count)))


async def test_claimers_at_once_share_the_jobs_and_none_twice(world: Any) -> None:
    await posts(world, 200)
    claims = await asyncio.gather(*(claim(world, f"replica-{number}", limit=30) for number in range(8)))
    taken = [job.id for claimed in claims for job in claimed]
    assert len(taken) == len(set(taken)) == 200
    assert not await claim(world)


async def test_a_job_is_due_again_when_its_lease_ends_and_the_first_holder_is_fenced_out(world: Any) -> None:
    await posts(world, 1)
    (first,) = await claim(world, lease=SHORT)
    second = await _claimed_again(world)
    assert second.lease_token > first.lease_token
    with pytest.raises(LeaseLost):
        await save(world, first)
    stored = await save(world, second, event=StoredEvent("key", {"a": 1}))
    assert (stored.checkpoint.deferrals, stored.sequence) == (7, first.sequence + 1)
    assert stored.last_event == StoredEvent("key", {"a": 1})


async def test_nothing_is_stored_after_the_lease_was_given_up(world: Any) -> None:
    await posts(world, 2)
    one, other = await claim(world)
    released = await save(world, one, release_in=60.0)
    assert (released.lease_owner, released.last_owner) == (None, "one")
    await save(world, other, ended=True)
    for job in (one, other):
        with pytest.raises(LeaseLost):
            await save(world, job)
    assert not await claim(world)
    async with world.database.read() as connection:
        assert 5 < (await jobs.seconds_until_due(connection, Lane.SEND) or 0) <= 60
        assert await jobs.seconds_until_due(connection, Lane.FOLLOW) is None


async def test_only_unexpired_leases_are_renewed(world: Any) -> None:
    await posts(world, 3)
    (expired,) = await claim(world, lease=SHORT, limit=1)
    held, stolen = await claim(world, limit=2)
    await asyncio.sleep(SHORT.total_seconds() * 2)
    leases = [(expired.id, expired.lease_token, 0), (held.id, held.lease_token, 42), (stolen.id, stolen.lease_token - 1, 0)]
    async with world.database.transaction() as tx:
        assert await jobs.renew(tx.connection, leases, lease=LEASE) == {held.id}
        assert await jobs.renew(tx.connection, [], lease=LEASE) == set()
    assert (await save(world, held)).streamed_bytes == 42


async def test_handing_back_makes_jobs_due_at_once(world: Any) -> None:
    await posts(world, 2)
    one, other = await claim(world)
    async with world.database.transaction() as tx:
        assert await jobs.hand_back(tx.connection, []) == 0
        assert await jobs.hand_back(tx.connection, [(one.id, one.lease_token), (other.id, other.lease_token - 1)]) == 1
    assert [job.id for job in await claim(world, "two")] == [one.id]


async def test_the_heartbeat_keeps_what_is_ours_and_tells_what_is_not(world: Any) -> None:
    await posts(world, 2)
    kept, gone = await claim(world)
    heartbeat = Heartbeat(world.database, lease=LEASE)
    assert heartbeat.healthy() == "not running"
    told: list[str] = []
    leases = [Lease(job.id, token, valid_until=0.0) for job, token in ((kept, kept.lease_token), (gone, 0))]
    for lease in leases:
        heartbeat.hold(lease, lambda lease=lease: told.append(str(lease.job_id)))
    await heartbeat.beat()
    assert told == [str(gone.id)]
    assert (leases[0].valid, leases[1].valid) == (True, False)
    assert heartbeat.held == [leases[0]]
    heartbeat.let_go(leases[0])
    await heartbeat.beat()


async def test_a_locked_row_holds_up_no_other_lease_and_loses_none(world: Any) -> None:
    await posts(world, 2)
    locked, other = await claim(world)
    heartbeat = Heartbeat(world.database, lease=LEASE)
    leases = [Lease(job.id, job.lease_token, valid_until=0.0) for job in (locked, other)]
    told: list[Lease] = []
    for lease in leases:
        heartbeat.hold(lease, lambda lease=lease: told.append(lease))
    async with world.database.transaction() as tx:
        await tx.connection.execute(select(publish_jobs.c.id).where(publish_jobs.c.id == locked.id).with_for_update())
        await heartbeat.beat()
        assert [lease.valid for lease in leases] == [False, True]
        assert (heartbeat.held, told) == (leases, [])
    await heartbeat.beat()
    assert [lease.valid for lease in leases] == [True, True]


async def test_one_unreadable_row_waits_and_the_others_are_claimed(world: Any) -> None:
    bad, good = (world.post(uuid7(), None) for _ in range(2))
    await world.accept(bad, good)
    await _store_post(world, bad, {**bad.to_data(), "mode": "carousel"})
    assert [job.post_id for job in await opened(world)] == [good.post_id]
    (deferred,) = await world.events(bad)
    assert (deferred.key, deferred.data["code"]) == ("publisher.publish.deferred.v1", "internal_error")
    async with world.database.read() as connection:
        row = (await connection.execute(select(publish_jobs).where(publish_jobs.c.post_id == bad.post_id))).one()
        assert (row.reason["code"], row.lease_owner, row.state) == ("internal_error", None, "queued")
        assert (row.sequence, row.last_event["key"]) == (deferred.sequence_number, deferred.key)
    assert 5 < (row.run_at - await world.database_now()).total_seconds() <= 60
    await world.due_now(bad)
    assert not await opened(world)
    assert len(await world.events(bad)) == 1
    await _store_post(world, bad, bad.to_data())
    assert [job.post_id for job in await opened(world)] == [bad.post_id]
    assert await world.told(bad) == ["deferred", "started"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [({}, ["failed"]), ({"irrevocable_since": utc_now()}, ["deferred"]), ({"transfer": "pull"}, ["deferred"])],
)
async def test_an_unreadable_row_past_its_deadline_ends_unless_something_may_be_out(
    world: Any, sent: dict[str, Any], told: list[str]
) -> None:
    bad = world.post(uuid7(), None)
    await world.accept(bad)
    await _store_post(world, bad, {})
    await world.due_now(bad, publish_before=await world.database_now() - timedelta(seconds=1), **sent)
    assert not await opened(world)
    assert await world.told(bad) == told
    if told == ["failed"]:
        failed = await world.event(bad, "failed")
        assert (failed["code"], failed["retryable"]) == ("internal_error", False)
        assert not await opened(world)


async def test_an_unreadable_row_alone_stops_nothing(world: Any) -> None:
    bad = world.post(await world.account(), None)
    await world.accept(bad)
    await _store_post(world, bad, {})
    async with world.replica() as replica:
        good = world.post(bad.account_id, world.media())
        await world.accept(good)
        await world.state(good, State.SUCCEEDED)
        assert replica.lanes[0].healthy() is None


def test_a_lease_once_lost_stays_lost() -> None:
    now = 100.0
    lease = Lease(uuid7(), 1, valid_until=110.0, clock=lambda: now)
    lease.check()
    assert lease.seconds_left == 10.0
    now = 110.0
    with pytest.raises(LeaseLost):
        lease.check()
    lease.extend(200.0)
    assert lease.revoked
    with pytest.raises(LeaseLost):
        lease.check()


async def _claimed_again(world: Any) -> Job:
    async with asyncio.timeout(60):
        while True:
            claimed = await claim(world, "two")
            if claimed:
                return claimed[0]


async def _store_post(world: Any, post: PostDue, stored: dict[str, Any]) -> None:
    await world.due_now(post)
    async with world.database.transaction() as tx:
        await tx.connection.execute(update(publish_jobs).where(publish_jobs.c.post_id == post.post_id).values(post=stored))
