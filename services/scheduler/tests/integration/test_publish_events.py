"""The publisher's events on real posts: transitions, retries, repeats, reorderings."""

from datetime import timedelta
from typing import Any

import pytest

from common.clock import utc_now
from common.contracts import publisher as told
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.registry import parse
from common.contracts.scheduler import PostCancelled, PostFailed, PostPublished, PostRetryScheduled, PostUpdated
from common.ids import uuid7
from scheduler.domain.outcome import Patience
from scheduler.domain.post import Post
from scheduler.domain.retry import RetryPolicy
from scheduler.usecases import apply_publish_event as apply_publish_event_module
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event, report_of

pytestmark = pytest.mark.integration
RULES = PublishRules(RetryPolicy(), Patience())


def event(post: Post, kind: type[told.PublishEvent], attempt: int = 1, **fields: Any) -> told.PublishEvent:
    defaults: dict[str, Any] = {
        "due_at": utc_now(),
        "started_at": utc_now(),
        "lateness_ms": 1.0,
        "until": utc_now() + timedelta(minutes=3),
        "code": "tiktok_busy",
        "message": "TikTok is busy.",
        "retryable": True,
        "publish_id": "v_pub~1",
        "outcome": "published",
        "published_at": utc_now(),
        "tiktok_video_id": None,
    }
    given = {name: value for name, value in {**defaults, **fields}.items() if name in kind.model_fields}
    base = {"post_id": post.id, "attempt": attempt, "job_id": uuid7(), "account_id": post.account_id, "replica": "publisher-1"}
    return kind.model_validate({**base, **given})


def envelope_of(event: told.PublishEvent, post: Post, sequence: int) -> Envelope:
    context = Context(user_id=post.user_id, actor="service:publisher", correlation_id="c-1")
    return wrap(event, service="publisher", subject=str(post.id), context=context, sequence=sequence)


async def tell(
    world: Any, post: Post, kind: type[told.PublishEvent], sequence: int = 1, attempt: int = 1, **fields: Any
) -> Post:
    message = event(post, kind, attempt, **fields)
    envelope = envelope_of(message, post, sequence)
    async with world.database.transaction() as tx:
        await apply_publish_event(tx, world.outbox, world.waker, RULES, message, envelope)
    now: Post = await world.reload(post)
    return now


async def due(world: Any, **fields: Any) -> Post:
    post: Post = await world.post(
        **{"status": "due", "attempt": 1, "next_attempt_at": None, "scheduled_time": utc_now(), **fields}
    )
    return post


async def test_a_whole_life(world: Any) -> None:
    post = await due(world)
    assert (await tell(world, post, told.PublishStarted, 1)).status == "publishing"
    deferred = await tell(world, post, told.PublishDeferred, 2)
    assert (deferred.status, deferred.error_code) == ("deferred", "tiktok_busy")
    assert deferred.forecast_at is not None
    processing = await tell(world, post, told.PublishSubmitted, 3)
    assert (processing.status, processing.publish_id, processing.error_code) == ("processing", "v_pub~1", None)
    live = await tell(world, post, told.PublishSucceeded, 4, video_url="https://tiktok.example/1")
    assert (live.status, live.version, live.publisher_sequence) == ("published", post.version + 4, 4)
    known = await tell(world, post, told.PublishIdentified, 5, tiktok_video_id="77")
    assert (known.tiktok_video_id, known.version) == ("77", post.version + 5)
    published, updated = await world.told()
    assert parse(published, PostPublished).status == "published"
    assert (published.sequence_number, published.correlationid) == (post.version + 4, "c-1")
    assert parse(updated, PostUpdated).changes == {"tiktok_video_id": [None, "77"]}


async def test_repeats_and_reorderings_end_the_same(world: Any) -> None:
    post = await due(world)
    await tell(world, post, told.PublishSubmitted, 3)
    for late in (told.PublishStarted, told.PublishDeferred):
        assert (await tell(world, post, late, 2)).status == "processing"
    await tell(world, post, told.PublishSucceeded, 4)
    first = await world.reload(post)
    for kind, sequence in ((told.PublishSucceeded, 4), (told.PublishSubmitted, 3), (told.PublishFailed, 9)):
        await tell(world, post, kind, sequence)
    last = await world.reload(post)
    assert (last.status, last.version) == ("published", first.version)
    assert len(await world.told()) == 1


async def test_a_late_start_does_not_undo_a_wait(world: Any) -> None:
    post = await due(world)
    await tell(world, post, told.PublishDeferred, 2)
    assert (await tell(world, post, told.PublishStarted, 1)).status == "deferred"


async def test_an_answer_to_the_sweep_that_tells_the_same_wait_changes_nothing(world: Any) -> None:
    """Told anew, it would begin the sweep's intervals again from the shortest."""
    post = await due(world)
    first = await tell(world, post, told.PublishDeferred, 2)
    assert await tell(world, post, told.PublishDeferred, 2, again=True) == first
    assert (await tell(world, post, told.PublishDeferred, 3)).version == first.version + 1


async def test_a_wait_while_polling_that_overtakes_the_submission(world: Any) -> None:
    post = await due(world, status="publishing")
    assert (await tell(world, post, told.PublishDeferred, 9)).status == "deferred"
    processing = await tell(world, post, told.PublishSubmitted, 8)
    assert (processing.status, processing.publisher_sequence, processing.error_code) == ("processing", 9, None)


async def test_an_id_that_overtakes_the_success_waits_for_it(world: Any) -> None:
    """The success carries the time of publication; the id is kept meanwhile."""
    post = await due(world, status="processing")
    at = utc_now() - timedelta(hours=3)
    early = await tell(world, post, told.PublishIdentified, 5, tiktok_video_id="77")
    assert (early.status, early.tiktok_video_id, await world.told()) == ("processing", "77", [])
    live = await tell(world, post, told.PublishSucceeded, 4, published_at=at)
    assert (live.status, live.published_at, live.tiktok_video_id) == ("published", at, "77")
    (envelope,) = await world.told()
    assert parse(envelope, PostPublished).published_at == at


@pytest.mark.parametrize(("attempt", "again"), [(2, True), (1, False)])
async def test_an_id_is_evidence_where_no_success_can_be_waited_for(world: Any, attempt: int, again: bool) -> None:
    """Told again in answer to the sweep, or of an earlier attempt."""
    post = await due(world, status="processing", attempt=2)
    live = await tell(world, post, told.PublishIdentified, 5, attempt=attempt, again=again, tiktok_video_id="77")
    assert (live.status, live.tiktok_video_id) == ("published", "77")


async def test_an_ignored_newer_sequence_is_remembered(world: Any) -> None:
    post = await due(world, status="processing")
    ignored = await tell(world, post, told.PublishDeferred, 5)
    assert (ignored.status, ignored.version, ignored.publisher_sequence) == ("processing", post.version, 5)


async def test_an_ignored_event_of_another_attempt_leaves_no_trace(world: Any) -> None:
    post = await due(world, attempt=2)
    assert await tell(world, post, told.PublishFailed, 9, attempt=1) == post


async def test_a_passing_failure_is_retried_with_the_events_context(world: Any) -> None:
    post = await due(world)
    retry = await tell(world, post, told.PublishFailed, 2, retry_after=90)
    assert (retry.status, retry.retry_count, retry.held) == ("retry_scheduled", 1, False)
    assert retry.next_attempt_at is not None
    assert timedelta(seconds=85) < retry.next_attempt_at - utc_now() < timedelta(seconds=100)
    (envelope,) = await world.told()
    planned = parse(envelope, PostRetryScheduled)
    assert (planned.code, planned.next_attempt_at) == ("tiktok_busy", retry.next_attempt_at)
    assert envelope.actor == "service:publisher"
    again = await tell(world, post, told.PublishFailed, 2, retry_after=90)
    assert again == retry


@pytest.mark.parametrize("ahead", [timedelta(days=-2), timedelta(days=2)])
async def test_the_databases_clock_times_retries_and_deadlines(
    world: Any, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """A replica whose clock is wrong plans the retry at the right time, and ends nothing before its deadline."""
    post = await due(world)
    monkeypatch.setattr(apply_publish_event_module, "utc_now", lambda: utc_now() + ahead, raising=False)
    retry = await tell(world, post, told.PublishFailed, 2)
    assert retry.next_attempt_at is not None
    assert timedelta(seconds=55) < retry.next_attempt_at - utc_now() < timedelta(seconds=70)


async def test_the_last_attempt_fails_for_good(world: Any) -> None:
    post = await due(world, attempt=5, retry_count=4)
    failed = await tell(world, post, told.PublishFailed, 2, attempt=5, hint="Try tomorrow.")
    assert (failed.status, failed.error_code) == ("failed", "tiktok_busy")
    assert (failed.error_hint or "").startswith("Try tomorrow. It is not tried again by itself")
    (envelope,) = await world.told()
    assert parse(envelope, PostFailed).message.startswith("Given up after 5 attempts.")


async def test_a_retry_of_an_expired_account_is_held(world: Any) -> None:
    account = await world.account(status="expired")
    post = await due(world, account_id=account.id)
    retry = await tell(world, post, told.PublishFailed, 2)
    assert (retry.status, retry.held, retry.held_reason) == ("retry_scheduled", True, "account_expired")


@pytest.mark.parametrize(("kind", "status"), [(told.PublishFailed, "publishing"), (told.PublishCancelled, "deferred")])
async def test_no_retry_for_a_disconnected_account(world: Any, kind: type[told.PublishEvent], status: str) -> None:
    account = await world.account(deleted=True)
    post = await due(world, account_id=account.id, status=status, cancel_at=utc_now())
    ended = await tell(world, post, kind, 2)
    assert (ended.status, ended.next_attempt_at, ended.cancel_at) == ("cancelled", None, None)
    assert (ended.error_code, ended.error_hint) == ("account_disconnected", "Connect it again and plan the post anew.")
    assert ended.ended_at is not None
    (envelope,) = await world.told()
    assert parse(envelope, PostCancelled).reason == "account_disconnected"


async def test_late_truth_of_an_earlier_attempt_publishes(world: Any) -> None:
    post = await world.post(status="retry_scheduled", attempt=1, next_attempt_at=utc_now())
    live = await tell(world, post, told.PublishSucceeded, 9)
    assert (live.status, live.next_attempt_at) == ("published", None)


async def test_an_unconfirmed_post_tells_what_was_found_since(world: Any) -> None:
    post = await due(world, status="processing")
    lost = await tell(world, post, told.PublishUnconfirmed, 3)
    assert await tell(world, post, told.PublishUnconfirmed, 3) == lost
    found = {"code": "possible_videos", "message": "Two videos look like it: 1, 2."}
    now = await tell(world, post, told.PublishUnconfirmed, 5, **found)
    assert (now.status, now.error_code, now.error_message) == ("unconfirmed", *found.values())
    assert now.ended_at == lost.ended_at
    fewer = await tell(world, post, told.PublishUnconfirmed, 6, **(found | {"message": "One looks like it: 1."}))
    assert fewer.error_message == "One looks like it: 1."
    assert await tell(world, post, told.PublishUnconfirmed, 5, **found) == fewer


@pytest.mark.parametrize("is_told_first", [True, False])
async def test_an_attempt_stopped_by_the_truth_about_an_earlier_one_is_never_shown_as_cancelled(
    world: Any, is_told_first: bool
) -> None:
    post = await due(world, status="publishing", attempt=2)
    stopped = (told.PublishCancelled, 9, 2, {"code": "earlier_attempt_published"})
    live = (told.PublishSucceeded, 5, 1, {})
    states = []
    for kind, sequence, attempt, fields in (stopped, live) if is_told_first else (live, stopped):
        states.append((await tell(world, post, kind, sequence, attempt, **fields)).status)
    assert states == ["publishing" if is_told_first else "published", "published"]


async def test_a_soon_retry_wakes_the_due_loop(world: Any) -> None:
    post = await due(world)
    quick = PublishRules(RetryPolicy(delays=(timedelta(seconds=0.1),)), Patience())
    message = event(post, told.PublishFailed)
    async with world.database.transaction() as tx:
        await apply_publish_event(tx, world.outbox, world.waker, quick, message, envelope_of(message, post, 1))
        assert world.woken == []
    assert len(world.woken) == 1


@pytest.mark.parametrize(
    ("kind", "fields", "status"),
    [
        (told.PublishUnconfirmed, {}, "unconfirmed"),
        (told.PublishCancelled, {}, "cancelled"),
        (told.PublishSucceeded, {"outcome": "sent_to_inbox"}, "sent_to_inbox"),
        (told.PublishFailed, {"retryable": False}, "failed"),
    ],
)
async def test_ends(world: Any, kind: type[told.PublishEvent], fields: dict[str, Any], status: str) -> None:
    post = await due(world, status="publishing")
    ended = await tell(world, post, kind, 2, **fields)
    assert (ended.status, ended.sweep_at) == (status, None)
    assert ended.ended_at is not None
    (envelope,) = await world.told()
    assert envelope.data["status"] == status


async def test_a_draft_is_published_when_its_creator_posts_it_and_no_sooner(world: Any) -> None:
    post = await due(world, status="processing", mode="inbox", privacy_level=None)
    delivered = await tell(world, post, told.PublishSucceeded, 4, outcome="sent_to_inbox")
    assert (delivered.status, delivered.published_at, delivered.publish_id) == ("sent_to_inbox", None, "v_pub~1")
    again = await tell(world, post, told.PublishSucceeded, 4, outcome="sent_to_inbox")
    assert again == delivered
    posted = await tell(world, post, told.PublishSucceeded, 5, tiktok_video_id="73")
    assert (posted.status, posted.tiktok_video_id) == ("published", "73")
    assert posted.published_at is not None
    late = await tell(world, post, told.PublishSucceeded, 4, outcome="sent_to_inbox")
    assert late == posted
    events = [parse(envelope, PostPublished) for envelope in await world.told()]
    assert [(event.status, event.published_at is None) for event in events] == [("sent_to_inbox", True), ("published", False)]


async def test_an_unknown_post_is_dropped(world: Any) -> None:
    post = await due(world)
    await world.execute("DELETE FROM posts")
    message = event(post, told.PublishStarted)
    async with world.database.transaction() as tx:
        await apply_publish_event(tx, world.outbox, world.waker, RULES, message, envelope_of(message, post, 1))
    assert await world.told() == []


async def test_an_unknown_class_is_a_bug(world: Any) -> None:
    post = await due(world)
    message = event(post, told.PublishEvent)
    with pytest.raises(TypeError):
        report_of(message, envelope_of(event(post, told.PublishStarted), post, 1))
