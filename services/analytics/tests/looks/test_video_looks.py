"""Published videos are looked at at their ages and then daily, many in one call; what is missed is not made up for."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from analytics.domain.look_times import VideoLooks
from analytics.domain.measures import PostNumbers
from analytics.domain.video_verdict import VideoVerdict
from analytics.storage.due_videos import claim_due_videos, settle_videos
from common.contracts.scheduler import PostUpdated
from common.errors import Problem

pytestmark = pytest.mark.integration
QUERY = "/v2/video/query/"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOOKS = VideoLooks((HOUR, 6 * HOUR, DAY), 180 * DAY)


def ago(age: timedelta) -> datetime:
    return datetime.now(UTC) - age


async def posts(world: Any) -> dict[UUID, dict[str, Any]]:
    return {row["post_id"]: row for row in await world.rows("stats_posts")}


async def measured(world: Any, number: int) -> bool:
    return len(await world.rows("post_metrics")) == number


async def test_the_videos_of_an_account_are_looked_at_in_one_call(world: Any) -> None:
    account_id = await world.account()
    published_at = ago(61 * timedelta(minutes=1))
    ids = await world.published(account_id, at=published_at, number=3)
    await world.tiktok.advance(3600)
    assert {row["metrics_due_at"] for row in (await posts(world)).values()} == {published_at + 6 * HOUR}
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 3), world.video_looks())
    assert await world.calls(QUERY) == {"200": 1}
    for row in await world.rows("post_metrics"):
        post = (await posts(world))[row["post_id"]]
        assert row["view_count"] > 0
        assert [post[name] for name in ("view_count", "like_count", "comment_count", "share_count", "measured_at")] == [
            row[name] for name in ("view_count", "like_count", "comment_count", "share_count", "collected_at")
        ]
        assert (post["day_views"], post["leased_until"], post["metrics_failures"]) == (None, None, 0)
        assert post["metrics_due_at"] == published_at + 6 * HOUR
    assert {row["post_id"] for row in await world.rows("post_metrics")} == set(ids)


async def test_counters_grow_and_the_views_of_the_first_day_stay(world: Any) -> None:
    account_id = await world.account()
    (post_id,) = await world.published(account_id, at=ago(25 * HOUR))
    loop = world.video_looks()
    views = []
    for number in (1, 2):
        await world.tiktok.advance(20 * 3600)
        await world.make_due("stats_posts")
        await world.until(lambda wanted=number: measured(world, wanted), loop)
        views.append((await posts(world))[post_id]["view_count"])
    assert views[0] < views[1]
    post = (await posts(world))[post_id]
    assert (post["day_views"], post["view_count"]) == (views[0], views[1])
    assert post["metrics_due_at"] == LOOKS.next_look(post["published_at"], account_id, post["measured_at"])


async def test_views_of_a_look_that_came_too_late_are_not_those_of_the_first_day(world: Any) -> None:
    (post_id,) = await world.published(await world.account(), at=ago(36 * HOUR))
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 1), world.video_looks())
    post = (await posts(world))[post_id]
    assert (post["day_views"], post["view_count"] is None) == (None, False)


async def test_the_numbers_of_a_video_that_its_owner_named_wrongly_go_when_tiktok_names_another(world: Any) -> None:
    """A look at the wrong one that is under way tells nothing either. Both times nobody knows when the first day was."""
    account_id, published_at = await world.account(), ago(25 * HOUR)
    (wrong, right) = await world.published(account_id, at=ago(300 * DAY), number=2)
    videos = {post_id: row["tiktok_video_id"] for post_id, row in (await posts(world)).items()}
    await world.change("DELETE FROM stats_posts")
    post_id = await world.heard_published(account_id, videos[wrong], at=published_at, by_owner=True)
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 1), world.video_looks())
    assert (await posts(world))[post_id]["view_count"] is not None
    await world.change("UPDATE stats_posts SET metrics_due_at = now(), metrics_failures = 6")
    async with world.database.transaction() as tx:
        under_way = await claim_due_videos(tx.driver, lease=HOUR)
    assert under_way is not None
    await world.change("UPDATE stats_posts SET metrics_due_at = NULL")
    changes = {"tiktok_video_id": [videos[wrong], videos[right]]}
    event = PostUpdated(post_id=post_id, account_id=account_id, status="published", attempt=1, changes=changes)
    await world.tell(event, post_id)
    late = VideoVerdict(post_id, PostNumbers(7, 7, 7, 7), None, 7)
    async with world.database.transaction() as tx:
        await settle_videos(tx.driver, under_way, [late], at=ago(timedelta()))
    post = (await posts(world))[post_id]
    assert (post["tiktok_video_id"], post["view_count"], post["measured_at"]) == (videos[right], None, None)
    assert (post["metrics_failures"], post["leased_until"], await world.rows("post_metrics")) == (0, None, [])
    assert post["metrics_due_at"] == LOOKS.next_look(published_at, account_id, datetime.now(UTC))
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 1), world.video_looks())
    post = (await posts(world))[post_id]
    assert (post["view_count"] is None, post["day_views"]) == (False, None)


async def test_missed_ages_are_one_look_at_its_real_time(world: Any) -> None:
    account_id = await world.account()
    published_at = ago(7 * HOUR)
    (post_id,) = await world.published(account_id, at=published_at)
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 1), world.video_looks())
    (row,) = await world.rows("post_metrics")
    assert row["collected_at"] > published_at + 7 * HOUR
    assert (await posts(world))[post_id]["metrics_due_at"] == published_at + DAY


async def test_a_video_that_is_not_shown_is_tried_at_its_next_ages_and_then_left(world: Any) -> None:
    account_id = await world.account()
    (gone, shown) = await world.published(account_id, at=ago(2 * HOUR), number=2)
    video_id = (await posts(world))[gone]["tiktok_video_id"]
    await world.tiktok.admin("DELETE", f"posts/{video_id}")
    loop = world.video_looks()
    for number in range(1, 8):
        await world.make_due("stats_posts")
        await world.until(lambda wanted=number: measured(world, wanted), loop)
        post = (await posts(world))[gone]
        assert (post["metrics_failures"], post["view_count"]) == (number, None)
        assert (post["metrics_due_at"] is None) is (number == 7)
    assert {row["post_id"] for row in await world.rows("post_metrics")} == {shown}


async def test_one_that_is_shown_again_counts_from_the_beginning(world: Any) -> None:
    account_id = await world.account()
    await world.published(account_id, at=ago(2 * HOUR))
    await world.change("UPDATE stats_posts SET metrics_failures = 6")
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 1), world.video_looks())
    assert [row["metrics_failures"] for row in (await posts(world)).values()] == [0]


async def test_more_videos_than_a_call_takes_and_replicas_at_once(world: Any) -> None:
    account_id = await world.account()
    (first,) = await world.published(account_id, at=ago(2 * HOUR))
    video_id = (await posts(world))[first]["tiktok_video_id"]
    for _ in range(49):
        await world.heard_published(account_id, video_id, at=ago(2 * HOUR))
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 50), *(world.video_looks(concurrency=2) for _ in range(3)))
    calls = await world.calls(QUERY)
    assert set(calls) == {"200"}
    assert calls["200"] <= 6, "twenty in a call, less where another replica had some in hand"
    assert len({row["post_id"] for row in await world.rows("post_metrics")}) == 50


async def test_what_a_dead_replica_had_in_hand_is_taken_over(world: Any) -> None:
    await world.published(await world.account(), at=ago(2 * HOUR), number=2)
    await world.make_due("stats_posts")
    async with world.database.transaction() as tx:
        taken = await claim_due_videos(tx.driver, lease=timedelta(seconds=1))
        assert taken is not None
        assert await claim_due_videos(tx.driver, lease=HOUR) is None
    await world.until(lambda: measured(world, 2), world.video_looks())


async def test_tiktok_away_is_tried_again_before_the_next_age(world: Any) -> None:
    account_id = await world.account()
    (post_id,) = await world.published(account_id, at=ago(2 * HOUR))
    await world.make_due("stats_posts")
    await world.tiktok.fault(QUERY, times=1, status=503)

    async def put_off() -> bool:
        post = (await posts(world))[post_id]
        return bool(datetime.now(UTC) < post["metrics_due_at"] < datetime.now(UTC) + timedelta(minutes=11))

    await world.until(put_off, world.video_looks())
    assert (await posts(world))[post_id]["metrics_failures"] == 0
    assert await world.rows("post_metrics") == []


async def test_a_429_holds_the_endpoint(world: Any) -> None:
    await world.published(await world.account(), at=ago(2 * HOUR))
    await world.make_due("stats_posts")
    await world.tiktok.fault(QUERY, times=1, status=429, code="rate_limit_exceeded")

    async def held() -> bool:
        paces = {row["endpoint"]: row["booked_until"] for row in await world.rows("tiktok_call_pace")}
        return bool(paces["video_query"] > datetime.now(UTC) + timedelta(seconds=20)) if paces else False

    await world.until(held, world.video_looks())
    await world.make_due("stats_posts")
    looked = await world.once(world.video_looks())
    assert looked.done == 0
    assert 0 < looked.next_in <= 30
    assert await world.calls(QUERY) == {"429": 1}


@pytest.mark.parametrize("who", ["the copy", "accounts"])
async def test_the_videos_of_a_paused_account_wait_for_their_next_age(world: Any, who: str) -> None:
    account_id = await world.account()
    published_at = ago(2 * HOUR)
    (post_id,) = await world.published(account_id, at=published_at)
    await world.make_due("stats_posts")
    if who == "accounts":
        world.accounts.problem = Problem(404, "account_not_found", "Gone.")
    else:
        await world.hear(account_id, status="inactive")

    async def skipped() -> bool:
        return bool((await posts(world))[post_id]["metrics_due_at"] == published_at + 6 * HOUR)

    await world.until(skipped, world.video_looks())
    assert world.accounts.asked == (1 if who == "accounts" else 0)
    assert await world.calls(QUERY) == {}
    assert await world.rows("post_metrics") == []


async def test_without_a_turn_videos_stay_due(world_with: Any) -> None:
    async with world_with(video_query_calls_per_minute=1) as world:
        await world.published(await world.account(), at=ago(2 * HOUR))
        await world.tiktok.admin("POST", "creators", {"username": "another"})
        await world.published(await world.account("another"), at=ago(2 * HOUR))
        await world.make_due("stats_posts")
        await asyncio.gather(*(world.once(world.video_looks()) for _ in range(2)))
        assert sum((await world.calls(QUERY)).values()) == 1
        waiting = [row for row in (await posts(world)).values() if row["measured_at"] is None]
        assert all(row["leased_until"] is None for row in waiting)


async def test_it_ends_with_its_last_day(world: Any) -> None:
    account_id = await world.account()
    await world.published(account_id, at=ago(2 * HOUR))
    await world.make_due("stats_posts")
    await world.until(lambda: measured(world, 1), world.video_looks(looks=VideoLooks((HOUR,), 3 * HOUR)))
    assert [row["metrics_due_at"] for row in (await posts(world)).values()] == [None]
