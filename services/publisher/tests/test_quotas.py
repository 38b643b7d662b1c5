"""Limits in the database: never one too many however many ask at once, given out in the order in which posts were due."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common.ids import uuid7
from publisher.domain.job import Lane
from publisher.domain.pacing import Limit, Standing, seconds_to_wait
from publisher.domain.tiktok_limits import CREATOR_INFO, INIT, STATUS, Caps
from publisher.storage import jobs, quota_line, quotas
from publisher.storage.job import Job
from publisher.storage.quota_sql import Line
from publisher.storage.quotas import Ask

CAPS = Caps.of(daily_posts=15, pending_drafts=5, active_users=2)


async def take(world: Any, ask: Ask, job: Job, **changes: bool) -> Standing:
    async with world.database.transaction() as tx:
        return await quotas.take(tx.connection, ask, job, **changes)


async def due(world: Any, account: UUID, number: int, **fields: Any) -> Sequence[Job]:
    """Accept so many posts of an account, due a second apart, and return their jobs in that order, in hand."""
    now = await world.database_now()
    posts = [world.post(account, None, due_at=now - timedelta(seconds=number - place), **fields) for place in range(number)]
    await world.accept(*reversed(posts))
    async with world.database.transaction() as tx:
        await jobs.claim(tx.connection, Lane.SEND, owner="one", lease=timedelta(seconds=60), limit=100)
    return [await world.job(post) for post in posts]


async def set_job(world: Any, job: Job, values: str) -> None:
    async with world.database.transaction() as tx:
        await tx.connection.execute(text(f"UPDATE publish_jobs SET {values} WHERE id = :id"), {"id": job.id})


@pytest.mark.parametrize("limit", [CREATOR_INFO, STATUS])
async def test_of_many_at_once_exactly_the_limit_is_granted(world: Any, limit: Limit) -> None:
    (job,) = await due(world, uuid7(), 1)
    ask = Ask(limit, "owner", job.id)
    found = await asyncio.gather(*(take(world, ask, job) for _ in range(limit.allowed + 10)))
    assert sum(standing.granted for standing in found) == limit.allowed
    waits = [seconds_to_wait(limit, standing) for standing in found if not standing.granted]
    assert all(55 < wait <= limit.window for wait in waits)
    assert (await take(world, Ask(limit, "another", job.id), job)).granted


async def test_calls_leave_the_window_one_by_one(world: Any) -> None:
    (job,) = await due(world, uuid7(), 1)
    ask = Ask(Limit("test", 2, 61.0), "owner", job.id)
    await take(world, ask, job)
    await world.pass_time(30)
    await take(world, ask, job)
    await world.pass_time(32)
    assert (await take(world, ask, job)).granted
    found = await take(world, ask, job)
    assert not found.granted
    assert seconds_to_wait(ask.limit, found) == pytest.approx(29, abs=2)


async def test_inits_are_given_out_in_the_order_in_which_posts_were_due(world: Any) -> None:
    line = await due(world, uuid7(), 9)
    found = [await take(world, quotas.of_init(job), job) for job in reversed(line)]
    assert [standing.ahead for standing in found] == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert [standing.granted for standing in found] == [False] * 8 + [True]
    # The first has had its own; the second comes a moment later.
    found = [await take(world, quotas.of_init(job), job) for job in line[1:]]
    assert not found[0].granted
    assert found[0].ahead == 0
    assert seconds_to_wait(INIT, found[0]) <= INIT.gap
    waits = [seconds_to_wait(INIT, standing) for standing in found]
    assert waits == sorted(waits)
    assert [wait > 55 for wait in waits] == [False] * 5 + [True] * 3


async def test_who_asks_at_the_same_time_never_gets_the_same_init(world: Any) -> None:
    account = uuid7()
    line = await due(world, account, 30)
    found = await asyncio.gather(*(take(world, quotas.of_init(job), job, waited=True) for job in line))
    granted = [place for place, standing in enumerate(found) if standing.granted]
    assert granted
    assert all(place < INIT.allowed for place in granted)
    for _ in range(INIT.allowed + 2):
        await world.pass_time(1)
        await asyncio.gather(*(take(world, quotas.of_init(job), job, waited=True) for job in line))
    async with world.database.read() as connection:
        calls = await connection.scalar(text("SELECT calls FROM tiktok_quotas WHERE name = 'init'"))
    assert len(calls) == INIT.allowed
    assert all(later - earlier >= timedelta(seconds=INIT.gap) for earlier, later in itertools.pairwise(calls))


async def test_one_that_does_not_begin_is_passed_after_a_while_but_keeps_its_place(world: Any) -> None:
    first, second = await due(world, uuid7(), 2)
    assert not (await take(world, quotas.of_init(second), second)).granted
    assert (await take(world, quotas.of_init(second), second, waited=True)).granted
    await world.pass_time(1)
    assert (await take(world, quotas.of_init(first), first)).granted


@pytest.mark.parametrize(
    "change",
    [
        "awaits_account = true",
        "lease_owner = NULL, run_at = now() + interval '1 minute'",
        "lease_owner = NULL, run_at = now() + interval '1 hour', awaits_quota = 'daily_posts'",
        "step = 'uploading'",
        "state = 'failed', run_at = NULL, lease_owner = NULL",
    ],
)
async def test_what_waits_for_something_else_or_has_ended_holds_nobody_up(world: Any, change: str) -> None:
    first, second = await due(world, uuid7(), 2)
    await set_job(world, first, change)
    found = await take(world, quotas.of_init(second), second)
    assert (found.granted, found.ahead) == (True, 0)


@pytest.mark.parametrize("wait", ["init", "turn"])
async def test_what_waits_for_its_turn_keeps_its_place(world: Any, wait: str) -> None:
    first, second = await due(world, uuid7(), 2)
    await set_job(world, first, f"lease_owner = NULL, run_at = now() + interval '1 minute', awaits_quota = '{wait}'")
    assert not (await take(world, quotas.of_init(second), second)).granted


async def test_a_job_counts_once_a_day_and_gives_it_back_when_it_published_nothing(world: Any) -> None:
    caps = Caps.of(daily_posts=2, pending_drafts=1, active_users=0)
    line = await due(world, uuid7(), 4)
    asks = [quotas.of_day(job, caps) for job in line]
    assert [(await take(world, ask, job)).granted for ask, job in zip(asks, line, strict=True)] == [True, True, False, False]
    assert (await take(world, asks[0], line[0])).granted
    await set_job(world, line[0], "state = 'failed', lease_owner = NULL, run_at = NULL")
    assert (await take(world, asks[2], line[2])).granted
    found = await take(world, asks[3], line[3])
    assert not found.granted
    assert seconds_to_wait(asks[3].limit, found) == pytest.approx(86_460, abs=30)


async def test_drafts_and_posts_are_counted_apart(world: Any) -> None:
    account = uuid7()
    caps = Caps.of(daily_posts=1, pending_drafts=1, active_users=0)
    (draft,) = await due(world, account, 1, mode="inbox")
    (post,) = await due(world, account, 1)
    assert (await take(world, quotas.of_day(post, caps), post)).granted
    assert (await take(world, quotas.of_day(draft, caps), draft)).granted


async def test_creators_of_a_day_are_counted_for_the_whole_app(world: Any) -> None:
    one, two, three = [(await due(world, uuid7(), 1))[0] for _ in range(3)]
    for job in (one, two, one):
        assert (await take(world, quotas.of_creators(job, CAPS), job)).granted
    found = await take(world, quotas.of_creators(three, CAPS), three)
    assert not found.granted
    await world.pass_time(50_000)
    assert (await take(world, quotas.of_creators(one, CAPS), one)).granted
    await world.pass_time(50_000)
    # The second has not posted for a day; the first has, meanwhile.
    assert (await take(world, quotas.of_creators(three, CAPS), three)).granted
    assert not (await take(world, quotas.of_creators(two, CAPS), two)).granted
    assert (await take(world, quotas.of_creators(one, CAPS), one)).granted


async def test_creators_who_wait_longer_come_first(world: Any) -> None:
    one, two, three, four = [(await due(world, uuid7(), 1))[0] for _ in range(4)]
    for job in (one, two):
        await take(world, quotas.of_creators(job, CAPS), job)
    await set_job(world, three, "awaits_quota = 'active_users', lease_owner = NULL")
    assert (await take(world, quotas.of_creators(four, CAPS), four)).ahead == 1
    await world.pass_time(86_461)
    assert (await take(world, quotas.of_creators(four, CAPS), four)).granted
    five = (await due(world, uuid7(), 1))[0]
    assert not (await take(world, quotas.of_creators(five, CAPS), five)).granted


async def test_statuses_are_told_first_to_those_who_wait(world: Any) -> None:
    one, two, three = await due(world, uuid7(), 3)
    ask = Ask(Limit("status", 1, 61.0), "o", one.id, Line.WAITERS)
    assert (await take(world, ask, one)).granted
    for job in (one, two):
        await set_job(world, job, "awaits_quota = 'status', lease_owner = NULL, run_at = now() + interval '1 hour'")
    await world.pass_time(62)
    new = Ask(ask.limit, "o", three.id, Line.WAITERS)
    assert (await take(world, new, three)).ahead == 2
    await set_job(world, one, "run_at = now() - interval '1 second'")
    assert (await take(world, Ask(ask.limit, "o", two.id, Line.WAITERS), two, waited=True)).ahead == 1
    assert (await take(world, ask, one, waited=True)).granted


async def test_looking_takes_nothing(world: Any) -> None:
    (job,) = await due(world, uuid7(), 1)
    ask = Ask(Limit("test", 1, 61.0), "o", job.id)
    assert (await take(world, ask, job, peek=True)).granted
    assert (await take(world, ask, job)).granted
    assert not (await take(world, ask, job, peek=True)).granted


async def test_what_tiktok_refused_is_learned(world: Any) -> None:
    first, second = await due(world, uuid7(), 2)
    ask = quotas.of_init(first)
    async with world.database.transaction() as tx:
        await quotas.learn(tx.connection, ask, 100)
        await quotas.learn(tx.connection, ask, 40)
    found = [await take(world, quotas.of_init(job), job) for job in (first, second)]
    assert not any(standing.granted for standing in found)
    waits = [seconds_to_wait(INIT, standing) for standing in found]
    assert waits == [pytest.approx(100, abs=2), pytest.approx(100 + INIT.gap, abs=2)]
    await world.pass_time(101)
    assert (await take(world, ask, first)).granted


async def test_a_cap_of_the_app_is_learned_by_all_accounts_but_those_that_count_already(world: Any) -> None:
    caps = Caps.of(daily_posts=0, pending_drafts=0, active_users=0)
    active, refused, other = [(await due(world, uuid7(), 1))[0] for _ in range(3)]
    asks = {job.id: quotas.of_creators(job, caps) for job in (active, refused, other)}
    for job in (active, refused):
        assert (await take(world, asks[job.id], job)).granted
    async with world.database.transaction() as tx:
        await quotas.learn(tx.connection, asks[refused.id], 100)
    for job in (refused, other):
        found = await take(world, asks[job.id], job)
        assert not found.granted
        assert seconds_to_wait(caps.active_users, found) == pytest.approx(100, abs=2)
    assert (await take(world, asks[active.id], active)).granted
    await world.pass_time(101)
    assert (await take(world, asks[other.id], other)).granted
    assert (await take(world, quotas.of_init(other), other)).granted


async def test_the_next_in_line_is_called(world: Any) -> None:
    account = uuid7()
    first, second, third = await due(world, account, 3)
    for job in (first, second):
        await set_job(world, job, "awaits_quota = 'turn', lease_owner = NULL, run_at = now() + interval '1 minute'")
    await set_job(world, third, "awaits_quota = 'daily_posts', lease_owner = NULL, run_at = now() + interval '1 hour'")
    async with world.database.transaction() as tx:
        assert await quota_line.call_next(tx.connection, account, after=30) == 1
        assert await quota_line.call_next(tx.connection, uuid7(), after=30) == 0
    now = await world.database_now()
    runs = [(await world.job(job)).run_at - now for job in (first, second, third)]
    assert runs[0] < timedelta(seconds=31)
    assert runs[1] > timedelta(seconds=50)
    async with world.database.transaction() as tx:
        assert await quota_line.move_up(tx.connection, account) == 3
    async with world.database.transaction() as tx:
        claim = await jobs.claim(tx.connection, Lane.SEND, owner="two", lease=timedelta(seconds=9), limit=9)
    assert [job.id for job in claim.jobs] == [first.id, second.id, third.id]


async def test_limits_in_which_nothing_counts_are_forgotten(world: Any) -> None:
    (job,) = await due(world, uuid7(), 1)
    for name in ("a", "b"):
        await take(world, Ask(Limit(name, 1, 61.0), "o", job.id), job)
    async with world.database.transaction() as tx:
        await quotas.learn(tx.connection, Ask(Limit("b", 1, 61.0), "o", job.id), 200_000)
        assert await quotas.prune(tx.connection, limit=9) == 0
    await world.pass_time(90_000)
    async with world.database.transaction() as tx:
        assert await quotas.prune(tx.connection, limit=9) == 1
        assert (await tx.connection.scalars(text("SELECT name FROM tiktok_quotas"))).all() == ["b"]


async def test_one_that_is_put_to_wait_while_the_line_moves_up_looks_again(world: Any) -> None:
    """It asked before the one ahead of it was gone, and is stored after that one has called everybody it could see."""
    account = uuid7()
    _, second = await due(world, account, 2)
    async with world.database.transaction() as tx:
        seen = await quota_line.version(tx.connection, account)
        assert not await quota_line.catch_up(tx.connection, account, second.id, since=seen)
    async with world.database.transaction() as tx:
        assert await quota_line.move_up(tx.connection, account) == 0
    await set_job(world, second, "lease_owner = NULL, run_at = now() + interval '1 day', awaits_quota = 'daily_posts'")
    async with world.database.transaction() as tx:
        assert await quota_line.catch_up(tx.connection, account, second.id, since=seen)
    assert (await world.job(second)).run_at <= await world.database_now()
