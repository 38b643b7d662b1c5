"""A person settles what the machine will not decide: another attempt, or the word that it is live."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common.clock import rfc3339, utc_now
from common.contracts.context import Context
from common.contracts.publisher import PublishSucceeded, PublishUnconfirmed
from common.contracts.scheduler import ConfirmPost, PostDue, RetryPost
from common.errors import Problem
from common.ids import uuid7
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from scheduler.domain.outcome import Patience
from scheduler.domain.post import Post
from scheduler.domain.post_states import PostState
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.video_id import is_video_id
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.posts import serialise_duplicates
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event
from scheduler.usecases.claim_due_posts import claim_due_posts
from scheduler.usecases.confirm_post import confirm_post
from scheduler.usecases.look_before_retry import LastLook
from scheduler.usecases.retry_post import retry_post

pytestmark = pytest.mark.integration

VIDEO = "7301234567890123456"
DENIED = {"error_code": "webhook_denies_failure"}
ERROR = {"error_code": "tiktok_x", "error_message": "It failed.", "error_hint": "Try."}


LOOKED = LastLook(2)


async def ended(world: Any, status: str, **fields: Any) -> Post:
    """Return a post that ended after two attempts, with its account and file."""
    account = await world.account(username="Ann O")
    media_id = await world.media(account.user_id)
    owned = {"user_id": account.user_id, "account_id": account.id, "media_id": media_id}
    past = {"next_attempt_at": None, "attempt": 2, "retry_count": 1, "publish_before": utc_now(), "ended_at": utc_now()}
    post: Post = await world.post(**(owned | past | ERROR | {"status": status, "scheduled_time": utc_now()} | fields))
    return post


async def retry(
    world: Any,
    post: Post,
    *,
    confirmed: bool = False,
    user_id: UUID | None = None,
    look: LastLook | None = LOOKED,
    allow_duplicate: bool = False,
    ago: timedelta = timedelta(0),
) -> Post:
    context = Context(user_id=post.user_id, actor=f"user:{post.user_id}")
    async with world.database.transaction() as tx:
        return await retry_post(
            tx,
            world.outbox,
            world.waker,
            post.id,
            user_id or post.user_id,
            confirm_not_published=confirmed,
            look=look,
            allow_duplicate=allow_duplicate,
            sent_at=utc_now() - ago,
            context=context,
        )


async def refused(world: Any, post: Post, **arguments: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await retry(world, post, **arguments)
    assert await world.reload(post) == post
    assert await world.told() == []
    return caught.value


async def claim(world: Any) -> PostDue:
    async with world.database.transaction() as tx:
        await claim_due_posts(tx, world.outbox, ClaimLimits())
    return PostDue.model_validate((await world.told())[-1].data)


async def test_a_failed_post_is_tried_again_with_a_new_deadline(world: Any) -> None:
    before = utc_now()
    old = await ended(world, "failed", publish_id="v~9")
    post = await retry(world, old)
    assert (post.status, post.attempt, post.retry_count, post.ended_at) == ("retry_scheduled", 2, 0, None)
    assert before - timedelta(seconds=1) <= post.next_attempt_at <= utc_now() + timedelta(seconds=1)
    assert before <= post.requested_at <= post.next_attempt_at
    assert post.publish_before == post.requested_at + timedelta(hours=24)
    (event,) = await world.told()
    assert (event.key, event.actor) == ("scheduler.post.retry_scheduled.v1", f"user:{post.user_id}")
    assert (event.data["by_owner"], event.data["confirmed_not_published"]) == (True, False)
    assert event.data["changes"] == {
        "status": ["failed", "retry_scheduled"],
        "retry_count": [1, 0],
        "publish_before": [rfc3339(old.publish_before), rfc3339(post.publish_before)],
        "publish_id": ["v~9", None],
        "ended_at": [rfc3339(old.ended_at), None],
    }
    assert len(world.woken) == 1
    due = await claim(world)
    assert (due.attempt, due.dismissed_attempts, due.publish_before) == (3, 0, post.publish_before)
    now = await world.reload(post)
    assert (now.status, now.error_code) == ("due", None)


async def test_an_unconfirmed_post_only_by_a_persons_word_which_reaches_the_publisher(world: Any) -> None:
    post = await ended(world, "unconfirmed")
    problem = await refused(world, post)
    assert (problem.status, problem.code) == (409, "confirmation_required")
    assert "confirm_not_published" in (problem.hint or "")
    again = await retry(world, post, confirmed=True, look=LastLook(2, not_videos=["8", "7"]))
    assert (again.status, again.dismissed_attempts) == ("retry_scheduled", 2)
    (event,) = await world.told()
    assert (event.data["confirmed_not_published"], event.data["code"]) == (True, "confirmed_not_published")
    assert event.data["not_videos"] == ["8", "7"]
    assert event.data["changes"]["dismissed_attempts"] == [0, 2]
    due = await claim(world)
    assert (due.attempt, due.dismissed_attempts) == (3, 2)


@pytest.mark.parametrize(("status", "look"), [("unconfirmed", None), ("failed", LastLook(1))])
async def test_without_a_look_at_every_attempt_the_word_does_not_count_yet(
    world: Any, status: str, look: LastLook | None
) -> None:
    problem = await refused(world, await ended(world, status, **DENIED), confirmed=True, look=look)
    assert (problem.status, problem.code, problem.headers["Retry-After"]) == (503, "retry_undecided", "5")


async def test_a_word_that_was_given_before_is_none_about_what_came_after(world: Any) -> None:
    """A retry that waited does not dismiss the attempt that began meanwhile, nor begin one more after another retry."""
    post = await ended(world, "unconfirmed")
    assert (await refused(world, post, confirmed=True, ago=timedelta(seconds=5))).code == "post_changed"
    await world.execute("UPDATE posts SET status = 'failed', requested_at = now()")
    assert (await refused(world, await world.reload(post), ago=timedelta(seconds=5))).code == "post_changed"
    assert (await retry(world, post, ago=timedelta(seconds=1))).status == "retry_scheduled"


async def test_the_word_about_a_failed_post_dismisses_nothing(world: Any) -> None:
    post = await retry(world, await ended(world, "failed"), confirmed=True)
    assert post.dismissed_attempts == 0
    assert (await claim(world)).dismissed_attempts == 0


async def test_so_is_a_failed_one_of_which_a_webhook_said_that_it_is_there(world: Any) -> None:
    post = await ended(world, "failed", **DENIED)
    problem = await refused(world, post)
    assert (problem.status, problem.code) == (409, "confirmation_required")
    assert "confirm_not_published" in (problem.hint or "")
    again = await retry(world, post, confirmed=True)
    assert (again.status, again.dismissed_attempts) == ("retry_scheduled", 2)
    (event,) = await world.told()
    assert (event.data["confirmed_not_published"], event.data["code"]) == (True, "confirmed_not_published")
    due = await claim(world)
    assert (due.attempt, due.dismissed_attempts) == (3, 2)


async def test_the_sweep_asks_with_the_word_too(world: Any) -> None:
    from scheduler.storage.sweep import SweepLimits, take_overdue

    post = await retry(world, await ended(world, "unconfirmed"), confirmed=True)
    await claim(world)
    await world.execute("UPDATE posts SET sweep_at = now()")
    async with world.database.transaction() as tx:
        (asked,) = await take_overdue(tx.connection, SweepLimits())
    assert (asked.id, asked.dismissed_attempts) == (post.id, 2)


@pytest.mark.parametrize("status", sorted(set(PostState) - {PostState.FAILED, PostState.UNCONFIRMED}))
@pytest.mark.parametrize("confirmed", [False, True])
async def test_no_other_state_can_be_retried(world: Any, status: str, confirmed: bool) -> None:
    problem = await refused(world, await ended(world, status), confirmed=confirmed)
    assert (problem.status, problem.code) == (409, "post_not_retryable")


async def test_what_a_retry_needs_must_be_there(world: Any) -> None:
    post = await ended(world, "failed")
    for status, deleted in (("inactive", False), ("expired", False), ("active", True)):
        await world.execute("UPDATE accounts SET status = :status, deleted = :deleted", status=status, deleted=deleted)
        assert (await refused(world, post)).code == "account_not_active"
    await world.execute("UPDATE accounts SET status = 'active', deleted = false")
    await world.execute("UPDATE media SET deleted_at = now()")
    assert (await refused(world, post)).code == "media_not_available"
    assert (await refused(world, post, user_id=uuid7())).code == "post_not_found"


async def posted_again(world: Any, post: Post, status: str = "published", **fields: Any) -> Post:
    """Store another post of the same video for the same account."""
    same = {
        "user_id": post.user_id,
        "account_id": post.account_id,
        "media_id": post.media_id,
        "media_sha256": post.media_sha256,
    }
    other: Post = await world.post(
        **(same | {"status": status, "next_attempt_at": None, "scheduled_time": utc_now()} | fields)
    )
    return other


@pytest.mark.parametrize(("status", "confirmed"), [("failed", False), ("unconfirmed", True)])
async def test_a_video_that_was_posted_again_meanwhile_only_if_that_is_meant(world: Any, status: str, confirmed: bool) -> None:
    post = await ended(world, status, media_sha256="ab" * 32)
    other = await posted_again(world, post)
    problem = await refused(world, post, confirmed=confirmed)
    assert (problem.status, problem.code, problem.extra["post_id"]) == (409, "duplicate_media", str(other.id))
    assert "allow_duplicate" in (problem.hint or "")
    assert (await retry(world, post, confirmed=confirmed, allow_duplicate=True)).status == "retry_scheduled"


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("failed", {}),
        ("cancelled", {}),
        ("draft", {}),
        ("published", {"created_at": utc_now() - timedelta(hours=25)}),
        ("published", {"account_id": uuid7()}),
        ("published", {"media_sha256": "cd" * 32}),
    ],
)
async def test_what_is_no_duplicate_at_creation_is_none_of_a_retry(world: Any, status: str, fields: dict[str, Any]) -> None:
    post = await ended(world, "failed", media_sha256="ab" * 32)
    await posted_again(world, post, status, **fields)
    assert (await retry(world, post)).status == "retry_scheduled"


async def test_a_retried_post_is_to_publish_its_video_from_then_on(world: Any) -> None:
    """Made, and failed, more than a day ago: what is posted after its retry is posted twice."""
    before = {"media_sha256": "ab" * 32, "created_at": utc_now() - timedelta(hours=25)}
    post = await ended(world, "failed", **before)
    other = await posted_again(world, post, "failed", **before)
    await retry(world, post)
    with pytest.raises(Problem, match="duplicate_media") as caught:
        await retry(world, other)
    assert caught.value.extra["post_id"] == str(post.id)


async def test_a_retry_and_a_creation_of_the_same_video_wait_for_each_other(world: Any) -> None:
    post = await ended(world, "failed", media_sha256="ab" * 32)
    async with world.database.transaction() as tx:
        await serialise_duplicates(tx.connection, [(post.account_id, "ab" * 32)])
        retrying = asyncio.create_task(retry(world, post))
        await eventually(waits_for_lock(world), timeout=60)
        await posted_again(world, post)
    with pytest.raises(Problem, match="duplicate_media"):
        await retrying


def waits_for_lock(world: Any) -> Callable[[], Awaitable[bool]]:
    async def waits() -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with world.database.read() as connection:
            return bool(await connection.scalar(text(waiting)))

    return waits


async def test_a_post_without_a_file_needs_none(world: Any) -> None:
    post = await ended(world, "failed", media_id=None, source_url="https://videos.example.com/a.mp4")
    assert (await retry(world, post)).status == "retry_scheduled"


async def told(world: Any, post: Post, event: Any, sequence: int) -> None:
    from common.contracts.envelope import wrap

    envelope = wrap(event, service="publisher", subject=str(post.id), context=Context(), sequence=sequence)
    rules = PublishRules(RetryPolicy(), Patience())
    async with world.database.transaction() as tx:
        await apply_publish_event(tx, world.outbox, world.waker, rules, event, envelope)


async def test_late_truth_about_a_dismissed_attempt_still_counts(world: Any) -> None:
    post = await retry(world, await ended(world, "unconfirmed"), confirmed=True)
    fields = {"post_id": post.id, "attempt": 2, "job_id": uuid7(), "account_id": post.account_id, "replica": "r"}
    again = PublishUnconfirmed(**fields, code="x", message="m", again=True)
    await told(world, post, again, 200_009)
    assert (await world.reload(post)).status == "retry_scheduled"
    went_live = PublishSucceeded(**fields, outcome="published", publish_id="v~1", published_at=utc_now())
    await told(world, post, went_live, 200_010)
    assert (await world.reload(post)).status == "published"


# Confirm


async def confirm(world: Any, post: Post, video_id: str = VIDEO, user_id: UUID | None = None) -> Post:
    context = Context(user_id=post.user_id, actor=f"user:{post.user_id}")
    async with world.database.transaction() as tx:
        return await confirm_post(tx, world.outbox, post.id, user_id or post.user_id, video_id, context=context)


@pytest.mark.parametrize("status", ["unconfirmed", "failed"])
async def test_a_person_settles_a_post_that_may_be_live(world: Any, status: str) -> None:
    post = await confirm(world, await ended(world, status, publish_id="v~9", **DENIED))
    assert (post.status, post.tiktok_video_id, post.publish_id, post.error_code) == ("published", VIDEO, "v~9", None)
    assert post.video_url == f"https://www.tiktok.com/@Ann%20O/video/{VIDEO}"
    (event,) = await world.told()
    assert (event.key, event.actor, event.data["by_owner"]) == ("scheduler.post.published.v1", f"user:{post.user_id}", True)
    assert event.data["tiktok_video_id"] == VIDEO
    changes = event.data["changes"]
    assert (changes["status"], changes["tiktok_video_id"]) == ([status, "published"], [None, VIDEO])
    # The word may be wrong.
    fields = {"post_id": post.id, "attempt": post.attempt, "job_id": uuid7(), "account_id": post.account_id, "replica": "r"}
    live = {"outcome": "published", "publish_id": "v~9", "published_at": utc_now(), "tiktok_video_id": "74"}
    await told(world, post, PublishSucceeded(**fields, **live), 300_001)
    now = await world.reload(post)
    assert (now.status, now.tiktok_video_id, now.video_url) == ("published", "74", None)
    _, updated = await world.told()
    assert (updated.key, updated.data["changes"]) == ("scheduler.post.updated.v1", {"tiktok_video_id": [VIDEO, "74"]})


async def test_without_a_copy_of_its_account_the_address_is_not_known(world: Any) -> None:
    post = await confirm(world, await ended(world, "unconfirmed", account_id=uuid7()))
    assert (post.status, post.video_url) == ("published", None)


@pytest.mark.parametrize("status", sorted(set(PostState) - {PostState.UNCONFIRMED}))
async def test_only_such_a_post_can_be_confirmed(world: Any, status: str) -> None:
    post = await ended(world, status)
    with pytest.raises(Problem) as caught:
        await confirm(world, post)
    assert (caught.value.status, caught.value.code) == (409, "post_not_unconfirmed")
    assert await world.reload(post) == post


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("1", True), (str(2**63 - 1), True), (str(2**63), False), ("9" * 19, False), ("0", False), ("", False), ("07", False)]
    + [(text, False) for text in ("-1", "+1", "1.0", "1e3", "١٢", " 1", "1\n", "1\x00", "0x1", "9" * 20)],
)
async def test_video_ids(world: Any, text: str, is_one: bool) -> None:
    assert is_video_id(text) is is_one
    if not is_one:
        post = await ended(world, "unconfirmed")
        with pytest.raises(Problem) as caught:
            await confirm(world, post, text)
        assert (caught.value.status, caught.value.errors[0].field) == (422, "tiktok_video_id")


async def test_others_cannot_confirm(world: Any) -> None:
    with pytest.raises(Problem) as caught:
        await confirm(world, await ended(world, "unconfirmed"), user_id=uuid7())
    assert caught.value.code == "post_not_found"


async def test_both_as_commands(world: Any, scheduler: Any) -> None:
    failed, lost = await ended(world, "failed"), await ended(world, "unconfirmed")
    again: Reply = await scheduler.command(RetryPost(post_id=failed.id), failed.user_id)
    assert (again.status, again.body["status"], again.headers["ETag"]) == (202, "retry_scheduled", '"2"')
    command_id = uuid7()
    first, repeated = [
        await scheduler.command(ConfirmPost(post_id=lost.id, tiktok_video_id=VIDEO), lost.user_id, command_id=command_id)
        for _ in range(2)
    ]
    assert (first.status, first.body["tiktok_video_id"]) == (200, VIDEO)
    assert repeated == first
