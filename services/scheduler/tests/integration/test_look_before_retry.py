"""Before a person's word counts, TikTok is asked once more; what is live after all is published, not tried again."""

from datetime import timedelta
from typing import Any

import pytest

from common.clock import rfc3339, utc_now
from common.contracts.publisher import PublishIdentified, PublishSucceeded
from common.contracts.scheduler import MediaDeleted, RetryPost
from common.errors import Problem
from common.ids import uuid7
from scheduler.domain.outcome import Patience
from scheduler.domain.post import Post
from scheduler.domain.retry import RetryPolicy
from scheduler.usecases.apply_publish_event import PublishRules
from scheduler.usecases.look_before_retry import LastLook, settle_as_live

pytestmark = pytest.mark.integration

RULES = PublishRules(RetryPolicy(), Patience())
VIDEO = "7301234567890123456"


async def unconfirmed(world: Any, **fields: Any) -> Post:
    account = await world.account()
    media_id = await world.media(account.user_id)
    owned = {"user_id": account.user_id, "account_id": account.id, "media_id": media_id, "status": "unconfirmed"}
    post: Post = await world.post(**(owned | {"attempt": 2, "next_attempt_at": None, "scheduled_time": utc_now()} | fields))
    return post


def answers(scheduler: Any, post: Post, status: int, body: dict[str, Any]) -> None:
    scheduler.neighbours.answers[f"POST publisher /internal/posts/{post.id}/look"] = (status, body)


def event(post: Post, attempt: int = 1, outcome: str = "published") -> dict[str, Any]:
    live = PublishSucceeded(
        post_id=post.id, attempt=attempt, job_id=uuid7(), account_id=post.account_id, replica="r", publish_id="v~1",
        outcome=outcome, published_at=utc_now(), tiktok_video_id=VIDEO, video_url=f"https://tiktok.example/{VIDEO}",
    )  # fmt: skip
    return {"key": PublishSucceeded.KEY, "data": live.to_data(), "sequence": 100_009}


async def retry(scheduler: Any, post: Post, *, confirmed: bool = True, not_videos: list[str] | None = None) -> Any:
    command = RetryPost(post_id=post.id, confirm_not_published=confirmed, not_videos=not_videos or [])
    return await scheduler.command(command, post.user_id)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [({}, "published"), ({"status": "failed", "error_code": "webhook_denies_failure"}, "published"), ({}, "sent_to_inbox")],
)
async def test_what_turns_out_live_is_published_and_not_tried_again(
    world: Any, scheduler: Any, fields: dict[str, Any], outcome: str
) -> None:
    post = await unconfirmed(world, **fields)
    answers(scheduler, post, 200, {"outcome": "live", "event": event(post, outcome=outcome)})
    reply = await retry(scheduler, post)
    assert (reply.status, reply.body["status"], reply.body["tiktok_video_id"]) == (200, outcome, VIDEO)
    now = await world.reload(post)
    assert (now.status, now.attempt, now.dismissed_attempts, now.next_attempt_at) == (outcome, 2, 0, None)
    again = await retry(scheduler, post)
    assert (again.status, again.body["code"]) == (409, "post_not_retryable")


async def test_one_that_was_settled_meanwhile_is_shown_as_it_is(world: Any) -> None:
    """The publisher's own event may come between the look and the transaction: the same answer, and nothing twice."""
    post = await unconfirmed(world)
    look = LastLook(2, PublishSucceeded.model_validate(event(post)["data"]), 100_009)
    for _ in range(2):
        async with world.database.transaction() as tx:
            shown = await settle_as_live(tx, world.outbox, world.waker, RULES, post.id, post.user_id, look)
        assert shown == await world.reload(post)
    assert (shown.status, shown.version) == ("published", post.version + 1)
    assert [told.key for told in await world.told()] == ["scheduler.post.published.v1"]


async def test_one_that_was_taken_off_the_lists_meanwhile_is_not_found(world: Any) -> None:
    post = await unconfirmed(world, deleted_at=utc_now())
    look = LastLook(2, PublishSucceeded.model_validate(event(post)["data"]), 100_009)
    with pytest.raises(Problem) as caught:
        async with world.database.transaction() as tx:
            await settle_as_live(tx, world.outbox, world.waker, RULES, post.id, post.user_id, look)
    assert caught.value.status == 404


@pytest.mark.parametrize("outcome", ["unknown", "not_published"])
async def test_when_tiktok_was_asked_the_persons_word_counts(world: Any, scheduler: Any, outcome: str) -> None:
    post = await unconfirmed(world)
    answers(scheduler, post, 200, {"outcome": outcome, "event": None})
    reply = await retry(scheduler, post)
    assert (reply.status, reply.body["status"]) == (202, "retry_scheduled")
    assert (await world.reload(post)).dismissed_attempts == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (404, {"code": "not_found"}),
        (200, {"outcome": "unanswered"}),
        (200, {"outcome": "live"}),
        (200, {"outcome": "too_early"}),
        (200, {"outcome": "still_processing"}),
        (200, {"outcome": "live", "event": {"key": "publisher.publish.unheard.v1", "data": {}, "sequence": 1}}),
        (200, {"outcome": "live", "event": {"key": PublishIdentified.KEY, "data": {}, "sequence": 1}}),
        (200, {"outcome": "live", "event": {"key": MediaDeleted.KEY, "data": {"media_id": str(uuid7())}, "sequence": 1}}),
        (200, {"outcome": "perhaps"}),
    ],
)  # fmt: skip
async def test_while_tiktok_cannot_be_asked_nothing_changes(world: Any, scheduler: Any, answer: Any) -> None:
    post = await unconfirmed(world)
    if answer is not None:
        answers(scheduler, post, *answer)
    reply = await retry(scheduler, post)
    assert (reply.status, reply.body["code"]) == (503, "retry_undecided")
    assert await world.reload(post) == post


async def test_nobody_is_asked_about_a_failed_post_or_without_the_word(world: Any, scheduler: Any) -> None:
    failed = await unconfirmed(world, status="failed")
    assert (await retry(scheduler, failed)).status == 202
    unsure = await unconfirmed(world)
    assert (await retry(scheduler, unsure, confirmed=False)).body["code"] == "confirmation_required"
    assert not [asked for asked in scheduler.neighbours.asked if asked.endswith("/look")]


@pytest.mark.parametrize("change", ["status = 'expired'", "deleted = true"])
async def test_through_an_account_that_is_away_nobody_is_asked(world: Any, scheduler: Any, change: str) -> None:
    post = await unconfirmed(world)
    await world.execute(f"UPDATE accounts SET {change}")
    reply = await retry(scheduler, post)
    assert (reply.status, reply.body["code"]) == (409, "account_not_active")
    assert not [asked for asked in scheduler.neighbours.asked if asked.endswith("/look")]
    assert await world.reload(post) == post


@pytest.mark.parametrize(
    ("outcome", "code", "again"),
    [("too_early", "retry_too_early", range(2301, 2401)), ("still_processing", "still_processing", range(300, 301))],
)
async def test_while_nobody_can_know_the_word_does_not_count_and_it_says_from_when_on_it_does(
    world: Any, scheduler: Any, outcome: str, code: str, again: range
) -> None:
    post = await unconfirmed(world)
    until = utc_now() + timedelta(minutes=40)
    answers(scheduler, post, 200, {"outcome": outcome, "event": None, "until": rfc3339(until)})
    reply = await retry(scheduler, post)
    assert (reply.status, reply.body["code"], reply.body["retry_at"]) == (409, code, rfc3339(until))
    assert f"{until:%Y-%m-%d %H:%M:%S} UTC" in reply.body["hint"]
    assert int(reply.headers["Retry-After"]) in again
    assert await world.reload(post) == post


async def test_videos_that_may_be_the_post_are_shown_before_the_word_counts(world: Any, scheduler: Any) -> None:
    """The word counts once it names all of them, whatever else it names; others that come meanwhile are shown again."""
    post = await unconfirmed(world)
    one, other = {"id": VIDEO, "url": f"https://tiktok.example/{VIDEO}"}, {"id": "7301234567890123457", "url": None}
    answers(scheduler, post, 200, {"outcome": "unknown", "possible_videos": [one]})
    for named in ([], ["1"]):
        reply = await retry(scheduler, post, not_videos=named)
        assert (reply.status, reply.body["code"], reply.body["possible_videos"]) == (409, "possible_videos", [one])
        assert VIDEO in reply.body["detail"]
    answers(scheduler, post, 200, {"outcome": "unknown", "possible_videos": [other, one]})
    reply = await retry(scheduler, post, not_videos=[VIDEO])
    assert (reply.status, reply.body["code"], reply.body["possible_videos"]) == (409, "possible_videos", [other, one])
    assert await world.reload(post) == post
    reply = await retry(scheduler, post, not_videos=[VIDEO, "1", other["id"]])
    assert (reply.status, reply.body["status"]) == (202, "retry_scheduled")


async def test_of_many_videos_all_are_named_and_the_sentence_stays_short(world: Any, scheduler: Any) -> None:
    post = await unconfirmed(world)
    many = [{"id": str(number), "url": None} for number in range(10_007, 10_000, -1)]
    answers(scheduler, post, 200, {"outcome": "unknown", "possible_videos": many})
    reply = await retry(scheduler, post)
    assert reply.body["possible_videos"] == many
    assert "7 videos" in reply.body["detail"]
    assert reply.body["detail"].endswith("10007, 10006, 10005, 10004, 10003, ....")
