"""Quotas in the database: never one call too many, however many ask at once."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from publisher.domain.job import State
from publisher.storage import quotas
from publisher.storage.quotas import Limit

SIX = Limit("test", 6)


async def take(world: Any, open_id: str = "o", limit: Limit = SIX) -> float | None:
    async with world.database.transaction() as tx:
        return await quotas.take(tx.connection, open_id, limit)


async def test_of_many_at_once_exactly_the_limit_is_granted(world: Any) -> None:
    waits = await asyncio.gather(*(take(world) for _ in range(40)))
    assert waits.count(None) == 6
    assert all(55 < wait <= quotas.WINDOW_SECONDS for wait in waits if wait is not None)
    assert await take(world, "another") is None
    assert await take(world, limit=Limit("other", 1)) is None


async def test_calls_leave_the_window_one_by_one(world: Any) -> None:
    for _ in range(6):
        await take(world)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE tiktok_quotas SET calls[1] = calls[1] - interval '62 s'"))
    assert await take(world) is None
    assert await take(world) is not None


async def test_ten_posts_at_once_meet_no_refusal(world: Any) -> None:
    account = await world.account()
    media = world.media()
    posts = [world.post(account, media) for _ in range(10)]
    async with world.replica():
        await world.accept(*posts)
        for _ in range(6):
            await _finished(world, posts)
    waiting = [post for post in posts if (await world.job(post)).checkpoint.state is State.RUNNING]
    assert len(waiting) == 4
    for post in waiting:
        deferred = await world.event(post, "deferred")
        assert deferred["code"] == "tiktok_quota"
    assert (await world.driver.stats())["rate_limited"] == {}


async def _finished(world: Any, posts: list[Any]) -> None:
    from common.testing.eventually import eventually

    async def six() -> bool:
        states = [(await world.job(post)).checkpoint.state for post in posts]
        return states.count(State.SUCCEEDED) == 6

    await eventually(six, 30)


@pytest.mark.parametrize("limit", [quotas.INIT, quotas.CREATOR_INFO, quotas.STATUS])
async def test_limits_are_tiktoks(world: Any, limit: Limit) -> None:
    waits = [await take(world, limit=limit) for _ in range(limit.per_minute + 1)]
    assert waits.index(next(wait for wait in waits if wait is not None)) == limit.per_minute
