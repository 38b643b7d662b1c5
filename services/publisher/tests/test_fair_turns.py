"""Many posts of one account at once, over several replicas: TikTok never has to refuse, and they come in their order."""

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.testing.eventually import eventually
from publisher.domain.job import Lane, State
from publisher.domain.tiktok_limits import INIT, STATUS
from publisher.runner.steps import quota
from publisher.storage import jobs

STATUS_FETCH = "/v2/post/publish/status/fetch/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"

pytestmark = pytest.mark.integration


async def three(world: Any, stack: AsyncExitStack, **changes: Any) -> None:
    for number in (1, 2, 3):
        await stack.enter_async_context(world.replica(service_instance=f"publisher-{number}", lease_seconds=60, **changes))


async def line_of(world: Any, number: int, username: str = "demo_public", **fields: Any) -> list[Any]:
    account, media, now = await world.account(username), world.media(), await world.database_now()
    return [world.post(account, media, due_at=now - timedelta(seconds=number - place), **fields) for place in range(number)]


async def states(world: Any, posts: list[Any]) -> list[State]:
    return [(await world.job(post)).checkpoint.state for post in posts]


async def order_of_inits(world: Any, posts: list[Any]) -> list[str]:
    titles = {post.content.title for post in posts}
    return [item["title"] for item in await world.driver.ledger() if item["title"] in titles]


async def test_ten_posts_due_at_once_meet_no_refusal_and_keep_their_order(world: Any) -> None:
    posts = await line_of(world, 10)
    async with AsyncExitStack() as stack:
        await three(world, stack)
        await world.accept(*reversed(posts))

        async def first_are_out() -> bool:
            waits = [(await world.job(post)).awaits_quota for post in posts[6:]]
            return await states(world, posts[:6]) == [State.SUCCEEDED] * 6 and waits == [INIT.name] * 4

        await eventually(first_are_out, 60)
        forecasts = [(await world.job(post)).run_at for post in posts[6:]]
        told = [await world.event(post, "deferred") for post in posts[6:]]
        now = await world.database_now()
        assert all(timedelta(seconds=30) < forecast - now < timedelta(seconds=62) for forecast in forecasts)
        assert {event["code"] for event in told} == {"tiktok_quota"}
        assert all(event["until"] is not None for event in told)
        await world.pass_time(62)

        async def all_are_out() -> bool:
            return await states(world, posts) == [State.SUCCEEDED] * 10

        await eventually(all_are_out, 60)
    assert await order_of_inits(world, posts) == [post.content.title for post in posts]
    assert (await world.driver.stats())["rate_limited"] == {}
    for post in posts:
        assert len(await world.publications(post)) == 1
        assert {event.data["attempt"] for event in await world.events(post)} == {1}


@pytest.mark.parametrize("simulator_changes", [{"daily_posts": 3, "access_token_seconds": 1_000_000}])
async def test_more_posts_than_a_day_holds_wait_for_the_next(world: Any) -> None:
    posts = await line_of(world, 5)
    async with AsyncExitStack() as stack:
        await three(world, stack, daily_posts_per_creator=3)
        await world.accept(*posts)
        deferred = await world.told_of(posts[4], "deferred")
        await world.told_of(posts[3], "deferred")
        assert deferred["code"] == "tiktok_daily_posts"
        await eventually(lambda: _are(world, posts[:3], State.SUCCEEDED), 60)
        await eventually(lambda: _sleep_for_hours(world, posts[3:]), 60)
        # Nobody wakes anybody for nothing.
        before = [(await world.job(post)).updated_at for post in posts[3:]]
        await world.state(await _another(world), State.SUCCEEDED)
        assert [(await world.job(post)).updated_at for post in posts[3:]] == before
        await world.pass_time(86_461)
        await eventually(lambda: _are(world, posts, State.SUCCEEDED), 60)
    assert await order_of_inits(world, posts) == [post.content.title for post in posts]
    assert (await world.driver.stats())["refused"] == {}


async def test_one_that_fails_makes_room_at_once(world: Any) -> None:
    posts = await line_of(world, 3)
    (world.folder / posts[0].media.storage_key).unlink()
    broken = posts[0]
    good = [world.post(posts[1].account_id, world.media(), due_at=post.due_at) for post in posts[1:]]
    async with world.replica(daily_posts_per_creator=1):
        await world.accept(broken, *good)
        await world.state(broken, State.FAILED)
        await world.state(good[0], State.SUCCEEDED)
        assert (await world.told_of(good[1], "deferred"))["code"] == "tiktok_daily_posts"


async def test_one_that_waits_for_something_else_lets_the_next_go(world: Any) -> None:
    posts = await line_of(world, 2)
    await world.driver.fault(CREATOR_INFO, status=503, times=3)
    async with world.replica():
        await world.accept(*posts)
        await eventually(lambda: _are(world, posts, State.SUCCEEDED), 30)
    assert await order_of_inits(world, posts) == [post.content.title for post in reversed(posts)]


async def test_a_dead_replica_holds_up_nobody_for_long(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first post is in hand of a replica that does nothing; the second passes it after a moment."""
    posts = await line_of(world, 2)
    await world.accept(*posts)
    async with world.database.transaction() as tx:
        claim = await jobs.claim(tx.connection, Lane.SEND, owner="hangs", lease=timedelta(seconds=60), limit=1)
    assert [job.post_id for job in claim.jobs] == [posts[0].post_id]
    monkeypatch.setattr(quota, "TURN_PATIENCE_SECONDS", 0.5)
    async with world.replica():
        await world.state(posts[1], State.SUCCEEDED)
    assert (await world.job(posts[0])).lease_owner == "hangs"


async def test_statuses_that_must_wait_say_so_and_come_in_their_turn(world: Any) -> None:
    (post,) = await line_of(world, 1)
    await world.spend(post.account_id, STATUS)
    async with world.replica():
        await world.accept(post)

        async def waits() -> bool:
            return (await world.job(post)).awaits_quota == STATUS.name

        await eventually(waits)
        job = await world.job(post)
        assert job.reason["code"] == "tiktok_status_quota"
        assert job.run_at - await world.database_now() > timedelta(seconds=50)
        await world.pass_time(61)
        assert (await world.state(post, State.SUCCEEDED)).awaits_quota is None
    assert await world.told(post) == ["started", "submitted", "succeeded"]


@pytest.mark.parametrize("simulator_changes", [{"processing_seconds": 3600}])
async def test_repeats_of_statuses_that_are_not_answered_count_too(world: Any) -> None:
    """Twenty posts at once, and each status is asked for again when its answer is lost: three times would be twice the quota."""
    first, *others = posts = await line_of(world, 20)
    async with world.replica():
        await world.accept(first)
        await world.told_of(first, "submitted")
    await world.accept(*others)
    await _are_where(world, first)
    await world.pass_time(61)
    asked_before = await _statuses(world)
    await world.driver.fault(STATUS_FETCH, lost_answer=True, times=STATUS.allowed)
    async with AsyncExitStack() as stack:
        await three(world, stack, breaker_failures=10_000)
        await eventually(lambda: _have_a_reason(world, posts), 60)
    stats = await world.driver.stats()
    assert stats["rate_limited"] == {}
    assert len(posts) <= await _statuses(world) - asked_before <= STATUS.allowed


async def _are_where(world: Any, post: Any) -> None:
    """Bring all posts where one of them is: TikTok has its bytes, and is to be asked now."""
    async with world.database.transaction() as tx:
        await tx.connection.execute(
            text(
                "UPDATE publish_jobs AS job SET state = one.state, step = one.step, lane = one.lane, publish_id = one.publish_id,"
                " open_id = one.open_id, submitted_at = one.submitted_at, irrevocable_since = one.irrevocable_since,"
                " last_chunk_intended = true, reason = NULL, run_at = now() FROM publish_jobs AS one WHERE one.post_id = :post"
            ),
            {"post": post.post_id},
        )


async def _statuses(world: Any) -> int:
    return sum((await world.driver.stats())["requests"].get(STATUS_FETCH, {}).values())


async def _have_a_reason(world: Any, posts: list[Any]) -> bool:
    """Whether each has been looked at in vain, or waits for its turn."""
    return all([(await world.job(post)).reason is not None for post in posts])


async def _are(world: Any, posts: list[Any], state: State) -> bool:
    return await states(world, posts) == [state] * len(posts)


async def _sleep_for_hours(world: Any, posts: list[Any]) -> bool:
    found, now = [await world.job(post) for post in posts], await world.database_now()
    return all(job.lease_owner is None and job.run_at - now > timedelta(hours=23) for job in found)


async def _another(world: Any) -> Any:
    """Accept a post of another account."""
    (post,) = await line_of(world, 1, "demo_private", content={"privacy_level": "SELF_ONLY"})
    await world.accept(post)
    return post
