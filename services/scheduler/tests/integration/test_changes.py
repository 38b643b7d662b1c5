"""Publishing now and cancelling, by command over real RabbitMQ."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from common.clock import utc_now
from common.contracts.scheduler import CancelPost, GivenFields, PublishPostNow, RetryPost, UpdatePost
from common.ids import uuid7
from common.testing.eventually import eventually
from scheduler.domain.post import Post

pytestmark = pytest.mark.integration


async def later(world: Any, **fields: Any) -> Post:
    post: Post = await world.post(**{"next_attempt_at": utc_now() + timedelta(hours=1), **fields})
    return post


async def moving(world: Any, status: str = "due") -> Post:
    post: Post = await world.post(status=status, attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    return post


@pytest.mark.parametrize("status", ["scheduled", "retry_scheduled"])
async def test_publish_now(world: Any, scheduler: Any, status: str) -> None:
    post = await later(world, status=status, publish_before=utc_now() + timedelta(minutes=1))
    reply = await scheduler.command(PublishPostNow(post_id=post.id), post.user_id)
    assert (reply.status, reply.body["status"], reply.headers["ETag"]) == (202, status, '"2"')

    async def is_due() -> bool:
        return bool((await world.reload(post)).status == "due")

    await eventually(is_due)
    now = await world.reload(post)
    assert now.publish_before is not None
    assert now.publish_before > utc_now() + timedelta(hours=23)


@pytest.mark.parametrize(("ahead", "left", "status"), [(-30, -6, "failed"), (-6, 18, "due"), (30, 24, "due")])
async def test_now_is_by_the_databases_clock_and_its_day_begins_when_it_was_sent(
    world: Any, scheduler: Any, ahead: int, left: int, status: str
) -> None:
    """The command waited for hours, for more than a day, or the clock of its sender is ahead."""
    post = await later(world)
    sent_at = utc_now() + timedelta(hours=ahead)
    reply = await scheduler.command(PublishPostNow(post_id=post.id), post.user_id, time=sent_at)
    assert reply.status == 202

    async def has_left() -> bool:
        return bool((await world.reload(post)).status == status)

    await eventually(has_left)
    now = await world.reload(post)
    assert abs(now.due_at - utc_now()) < timedelta(minutes=1)
    assert abs(now.publish_before - utc_now() - timedelta(hours=left)) < timedelta(minutes=1)
    assert now.error_code == ("deadline_passed" if status == "failed" else None)
    assert now.requested_at <= utc_now() + timedelta(seconds=1), "a clock that is ahead keeps no later request out"


async def test_publish_now_that_comes_after_a_later_change_has_no_effect(world: Any, scheduler: Any) -> None:
    post = await later(world)
    await world.execute("UPDATE posts SET requested_at = now()")
    post = await world.reload(post)
    reply = await scheduler.command(PublishPostNow(post_id=post.id), post.user_id, time=utc_now() - timedelta(seconds=5))
    assert (reply.status, reply.body["code"]) == (409, "post_changed")
    assert await world.reload(post) == post


@pytest.mark.parametrize("status", ["draft", "due", "published", "failed", "unconfirmed", "cancelled"])
async def test_publish_now_only_what_waits(world: Any, scheduler: Any, status: str) -> None:
    post = await world.post(status=status, next_attempt_at=None, scheduled_time=None)
    reply = await scheduler.command(PublishPostNow(post_id=post.id), post.user_id)
    assert (reply.status, reply.body["code"]) == (409, "post_not_waiting")
    assert await world.reload(post) == post


@pytest.mark.parametrize(
    "fields",
    [{}, {"transfer": "pull", "source_url": "https://a.example.com/a.mp4"}, {"photo_urls": ["https://a.example.com/a.jpg"]}],
)
async def test_only_what_tiktok_fetches_is_to_be_waited_for_an_hour(
    world: Any, scheduler: Any, fields: dict[str, Any]
) -> None:
    """Of an upload nothing comes but what TikTok tells when it is asked before the retry."""
    account = await world.account()
    post = await world.post(
        user_id=account.user_id, account_id=account.id, status="unconfirmed", next_attempt_at=None, **fields
    )
    changes = UpdatePost(post_id=post.id, changes=GivenFields.model_validate({"caption": "x"}))
    for message in (PublishPostNow(post_id=post.id), changes, RetryPost(post_id=post.id)):
        reply = await scheduler.command(message, post.user_id)
        assert reply.status == 409
        assert "Look at" in reply.body["hint"]
        assert ("an hour" in reply.body["hint"]) is bool(fields), reply.body


async def test_publish_now_while_the_account_is_away(world: Any, scheduler: Any) -> None:
    post = await later(world, held=True, held_reason="account_expired")
    reply = await scheduler.command(PublishPostNow(post_id=post.id), post.user_id)
    assert (reply.status, reply.body["code"]) == (409, "account_not_active")


@pytest.mark.parametrize("kind", [PublishPostNow, CancelPost])
async def test_another_users_post_is_not_found(world: Any, scheduler: Any, kind: Any) -> None:
    post = await later(world)
    for message, user in ((kind(post_id=post.id), uuid7()), (kind(post_id=uuid7()), post.user_id)):
        reply = await scheduler.command(message, user)
        assert (reply.status, reply.body["code"]) == (404, "post_not_found")
    assert await world.reload(post) == post


@pytest.mark.parametrize("status", ["scheduled", "retry_scheduled"])
async def test_cancel_what_waits(world: Any, scheduler: Any, status: str) -> None:
    failure = {"error_code": "tiktok_internal_error", "error_message": "TikTok failed.", "error_hint": "Wait."}
    post = await later(world, status=status, **(failure if status == "retry_scheduled" else {}))
    reply = await scheduler.command(CancelPost(post_id=post.id), post.user_id)
    assert (reply.status, reply.body) == (204, None)
    now = await world.reload(post)
    assert (now.status, now.next_attempt_at, now.deleted_at) == ("cancelled", None, None)
    assert scheduler.neighbours.asked == []
    # A failed attempt of before is not why it ended.
    assert (now.error_code, now.error_message, now.error_hint) == (None, None, None)
    shown = await scheduler.get(f"/internal/posts/{post.id}/status", post.user_id)
    assert (shown.json()["status"], shown.json()["reason"]) == ("cancelled", None)


async def test_cancel_a_draft_takes_it_off_the_lists(world: Any, scheduler: Any) -> None:
    post = await later(world, status="draft", next_attempt_at=None, scheduled_time=None)
    assert (await scheduler.command(CancelPost(post_id=post.id), post.user_id)).status == 204
    now = await world.reload(post)
    assert (now.status, now.deleted_at is None) == ("cancelled", False)


@pytest.mark.parametrize("status", ["published", "failed", "cancelled", "unconfirmed", "sent_to_inbox"])
async def test_cancel_takes_the_rest_off_the_lists(world: Any, scheduler: Any, status: str) -> None:
    post = await later(world, status=status, next_attempt_at=None, scheduled_time=None)
    assert (await scheduler.command(CancelPost(post_id=post.id), post.user_id)).status == 204
    now = await world.reload(post)
    assert now.status == status
    assert now.deleted_at is not None
    assert (await scheduler.get(f"/internal/posts/{post.id}", post.user_id)).status_code == 404
    assert (await scheduler.command(CancelPost(post_id=post.id), post.user_id)).status == 404


@pytest.mark.parametrize("status", ["due", "publishing", "deferred"])
@pytest.mark.parametrize(
    ("answer", "expected", "after"),
    [
        ((200, {"outcome": "cancelled"}), (204, None), "cancelled"),
        ((200, {"outcome": "too_late"}), (409, "too_late_to_cancel"), None),
        ((500, {}), (503, "cancel_undecided"), None),
        ((200, {"outcome": "perhaps"}), (503, "cancel_undecided"), None),
        (None, (503, "cancel_undecided"), None),
    ],
)
async def test_once_due_the_publisher_decides(
    world: Any, scheduler: Any, status: str, answer: Any, expected: tuple[int, str | None], after: str | None
) -> None:
    post = await moving(world, status)
    path = f"POST publisher /internal/posts/{post.id}/cancel"
    if answer is not None:
        scheduler.neighbours.answers[path] = answer
    reply = await scheduler.command(CancelPost(post_id=post.id), post.user_id)
    assert (reply.status, reply.body and reply.body["code"]) == expected
    assert reply.status != 503 or "may have been stopped" in reply.body["detail"]
    assert scheduler.neighbours.asked == [path]
    now = await world.reload(post)
    assert now.status == (after or status)
    assert after is not None or now == replace(post, cancel_asked=reply.status == 503)


async def test_a_delete_repeated_after_it_was_undecided_does_not_hide_what_is_live(world: Any, scheduler: Any) -> None:
    post = await moving(world, "due")
    delete = CancelPost(post_id=post.id)
    assert (await scheduler.command(delete, post.user_id)).status == 503
    await world.execute("UPDATE posts SET status = 'published', ended_at = now()")
    repeat = uuid7()
    for _ in range(2):
        reply = await scheduler.command(delete, post.user_id, command_id=repeat)
        assert (reply.status, reply.body["code"]) == (409, "too_late_to_cancel")
    assert (await world.reload(post)).deleted_at is None
    assert (await scheduler.command(delete, post.user_id)).status == 204
    assert (await world.reload(post)).deleted_at is not None


async def test_too_late_while_tiktok_processes(world: Any, scheduler: Any) -> None:
    post = await moving(world, "processing")
    reply = await scheduler.command(CancelPost(post_id=post.id), post.user_id)
    assert (reply.status, reply.body["code"]) == (409, "too_late_to_cancel")
    assert scheduler.neighbours.asked == []
