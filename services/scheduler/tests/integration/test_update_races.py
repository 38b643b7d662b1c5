"""Edits without a running scheduler: the events they leave, and their race with the due loop."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.clock import rfc3339, utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.scheduler import GivenFields, PostScheduled, UpdatePost
from common.errors import Problem
from common.testing.eventually import eventually
from scheduler.storage.claim import ClaimLimits
from scheduler.usecases.claim_due_posts import claim_due_posts
from scheduler.usecases.post_changes import changes_between, first_values
from scheduler.usecases.post_events import state_event
from scheduler.usecases.surroundings import Surroundings
from scheduler.usecases.update_post import EditPlan, update_post
from scheduler.usecases.wanted_post import want_change

pytestmark = pytest.mark.integration


def edit(post: Any, given: dict[str, Any]) -> tuple[EditPlan, Any]:
    wanted = want_change(post, given, now=utc_now(), allowed_hosts=frozenset())
    context = Context(user_id=post.user_id, actor=f"user:{post.user_id}")
    command = UpdatePost(post_id=post.id, changes=GivenFields())
    return EditPlan.of(wanted, Surroundings(wanted.fields.tiktok_account_id)), wrap(
        command, service="gateway", subject="x", context=context
    )


async def apply(world: Any, post: Any, given: dict[str, Any], plan: EditPlan, envelope: Any) -> Any:
    async with world.database.transaction() as tx:
        return await update_post(
            tx,
            world.outbox,
            world.waker,
            post.id,
            given,
            plan,
            envelope,
            user_id=post.user_id,
            allowed_hosts=frozenset({"cdn.test"}),
        )


async def stored(world: Any, **fields: Any) -> Any:
    account = await world.account()
    media_id = await world.media(account.user_id)
    return await world.post(user_id=account.user_id, account_id=account.id, media_id=media_id, **fields)


async def test_the_event_tells_what_changed(world: Any) -> None:
    due = utc_now() + timedelta(hours=1)
    post = await stored(world, next_attempt_at=due, publish_before=due + timedelta(hours=24))
    at = utc_now() + timedelta(days=2)
    given = {"caption": "new", "hashtags": ["x"], "scheduled_time": at, "privacy_level": "SELF_ONLY"}
    changed = await apply(world, post, given, *edit(post, given))
    (event,) = await world.told()
    assert event.key == "scheduler.post.updated.v1"
    assert (event.sequence_number, event.userid, event.actor) == (2, post.user_id, f"user:{post.user_id}")
    assert changed.publish_before == at + timedelta(hours=24)
    assert event.data["changes"] == {
        "caption": ["hello", "new"],
        "hashtags": [[], ["x"]],
        "privacy_level": ["PUBLIC_TO_EVERYONE", "SELF_ONLY"],
        "scheduled_time": [rfc3339(post.scheduled_time), rfc3339(at)],
        "publish_before": [rfc3339(post.publish_before), rfc3339(changed.publish_before)],
    }
    assert world.woken == []


async def test_a_completed_draft_is_told_as_scheduled(world: Any) -> None:
    post = await stored(world, status="draft", next_attempt_at=None, scheduled_time=None, publish_before=None)
    given = {"draft": False, "scheduled_time": utc_now() + timedelta(seconds=1)}
    await apply(world, post, given, *edit(post, given))
    (event,) = await world.told()
    assert event.key == "scheduler.post.scheduled.v1"
    assert event.data["changes"]["status"] == ["draft", "scheduled"]
    assert len(world.woken) == 1


async def test_what_follows_the_question_mark_of_an_address_is_not_told(world: Any) -> None:
    old = await world.post(source_url="https://a.example/v.mp4?signature=SECRET", media_id=None)
    new = await world.post(
        source_url="https://b.example/v.mp4?signature=SECRET#SECRET", photo_urls=["https://c.example/p.jpg?token=SECRET"]
    )
    changes = changes_between(old, new)
    assert changes["source_url"] == ["https://a.example/v.mp4", "https://b.example/v.mp4"]
    assert changes["photo_urls"] == [[], ["https://c.example/p.jpg"]]
    assert "SECRET" not in str(changes)
    event = state_event(new)
    assert isinstance(event, PostScheduled)
    assert event.changes == first_values(new)
    assert first_values(new)["source_url"] == [None, "https://b.example/v.mp4"]
    assert "SECRET" not in str(first_values(new))


@pytest.mark.parametrize("field", ["account_id", "privacy_level"])
async def test_what_another_edit_changed_meanwhile_is_not_judged_by_old_facts(world: Any, field: str) -> None:
    post = await stored(world)
    plan, envelope = edit(post, {"caption": "x"})
    other = (await world.account(post.user_id)).id if field == "account_id" else "SELF_ONLY"
    await world.execute(f"UPDATE posts SET {field} = :other", other=other)
    with pytest.raises(Problem) as caught:
        await apply(world, post, {"caption": "x"}, plan, envelope)
    assert caught.value.code == "post_changed"


async def test_edit_against_claim_exactly_one_comes_first(world: Any) -> None:
    """40 due posts are edited while they are claimed: what leaves is whole, the old post or the new one, never a mix."""
    posts = [await stored(world, next_attempt_at=utc_now()) for _ in range(40)]
    given = {"caption": "new", "privacy_level": "SELF_ONLY", "disable_duet": True}
    plans = [edit(post, given) for post in posts]

    few = asyncio.Semaphore(3)

    async def try_edit(index: int) -> str:
        async with few:
            try:
                await apply(world, posts[index], given, *plans[index])
            except Problem as problem:
                return problem.code
            return "edited"

    async def claim() -> None:
        for _ in range(30):
            async with world.database.transaction() as tx:
                await claim_due_posts(tx, world.outbox, ClaimLimits(batch=5))

    results, _, _ = await asyncio.gather(asyncio.gather(*(try_edit(n) for n in range(40))), claim(), claim())
    await claim()
    due = {event.data["post_id"]: event.data["content"] for event in await world.told() if ".due." in event.key}
    assert len(due) == 40
    for post, result in zip(posts, results, strict=True):
        content = due[str(post.id)]
        told = (content["title"], content["privacy_level"], content["disable_duet"])
        if result == "edited":
            assert told == ("new", "SELF_ONLY", True)
        else:
            assert (result, told) == ("post_not_editable", ("hello", "PUBLIC_TO_EVERYONE", False))


async def test_a_post_taken_off_the_lists_meanwhile_is_not_found(world: Any) -> None:
    post = await stored(world)
    plan, envelope = edit(post, {"caption": "x"})
    await world.execute("UPDATE posts SET deleted_at = now()")
    with pytest.raises(Problem) as caught:
        await apply(world, post, {"caption": "x"}, plan, envelope)
    assert caught.value.code == "post_not_found"


async def test_an_edit_that_was_prepared_before_the_claim_comes_too_late(world: Any) -> None:
    post = await stored(world, next_attempt_at=utc_now())
    plan, envelope = edit(post, {"caption": "new"})
    async with world.database.transaction() as tx:
        await claim_due_posts(tx, world.outbox, ClaimLimits())
    claimed = await world.reload(post)
    with pytest.raises(Problem) as caught:
        await apply(world, post, {"caption": "new"}, plan, envelope)
    assert caught.value.code == "post_not_editable"
    assert await world.reload(post) == claimed


async def test_an_edit_and_an_event_of_its_account_do_not_wait_for_each_other_in_a_circle(world: Any) -> None:
    """Whoever changes an account holds its row and then wants its posts; an edit must not come the other way round."""
    post = await stored(world)
    plan, envelope = edit(post, {"caption": "x"})
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE accounts SET version = version + 1"))
        editing = asyncio.create_task(apply(world, post, {"caption": "x"}, plan, envelope))

        async def is_waiting() -> bool:
            async with world.database.read() as connection:
                sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                return bool(await connection.scalar(text(sql)))

        await eventually(is_waiting)
        await tx.connection.execute(text("SELECT 1 FROM posts WHERE id = :id FOR UPDATE"), {"id": post.id})
    assert (await editing).caption == "x"
