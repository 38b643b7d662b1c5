"""Cancelling a post that moves on between the publisher's word and the transaction."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from common.clock import rfc3339, utc_now
from common.contracts.context import Context
from common.errors import Problem
from scheduler.clients.publisher import PublisherAway, PublisherUndecided
from scheduler.domain.post import Post
from scheduler.domain.post_states import Happening, Kind, PostState, transition
from scheduler.usecases.cancel_post import Asked, Word, ask_publisher, cancel_post

pytestmark = pytest.mark.integration


async def told(world: Any, post: Post, asked: Asked) -> tuple[str | None, Post]:
    """Return the refusal's code, None for 204, and the post as it is after that."""
    try:
        async with world.database.transaction() as tx:
            refusal = await cancel_post(tx, world.outbox, post.id, post.user_id, asked, context=Context())
    except Problem as problem:
        refusal = problem
    return None if refusal is None else refusal.code, await world.reload(post)


async def refused(world: Any, post: Post, asked: Asked) -> str | None:
    code, after = await told(world, post, asked)
    assert after == replace(post, cancel_asked=code == "cancel_undecided")
    return code


@pytest.mark.parametrize("word", [None, Word(attempt=1, cancelled=True)])
async def test_a_word_on_nothing_or_on_an_earlier_attempt_decides_nothing(world: Any, word: Word | None) -> None:
    post = await world.post(status="due", attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    assert await refused(world, post, Asked(PostState.DUE, word)) == "cancel_undecided"


async def test_cancelled_by_the_event_meanwhile_stays_on_the_lists(world: Any) -> None:
    post = await world.post(status="cancelled", attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    assert await told(world, post, Asked(PostState.DUE, Word(attempt=2, cancelled=True))) == (None, post)
    assert await world.told() == []


@pytest.mark.parametrize("status", ["published", "failed", "processing"])
async def test_ended_meanwhile_it_is_too_late(world: Any, status: str) -> None:
    post = await world.post(status=status, attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    assert await refused(world, post, Asked(PostState.DUE, Word(attempt=2, cancelled=False))) == "too_late_to_cancel"


FETCHED = {"transfer": "pull", "source_url": "https://videos.example.com/a.mp4"}


class Publisher:
    """Answers cancellations as told."""

    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer

    async def cancel(self, post: Post) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def ask(post: Post, answer: bool | Exception) -> Asked:
    return await ask_publisher(Publisher(answer), post, sent_at=utc_now())  # type: ignore[arg-type]


async def test_what_tiktok_fetches_by_itself_may_be_stopped_while_it_is_processed(world: Any) -> None:
    fields = {"attempt": 2, "next_attempt_at": None, "scheduled_time": utc_now()}
    post = await world.post(status="processing", **FETCHED, **fields)
    photos = await world.post(status="processing", photo_urls=["https://videos.example.com/a.jpg"], **fields)
    assert await ask(photos, True) == Asked(PostState.PROCESSING, Word(2, cancelled=True))
    undecided = await ask(post, PublisherUndecided())
    assert undecided.undecided is not None
    assert undecided.undecided.headers == {"Retry-After": "2"}
    for asked in (undecided, await ask(post, PublisherAway("x")), Asked(PostState.SCHEDULED)):
        assert await refused(world, post, asked) == "cancel_undecided"
    assert await refused(world, post, await ask(post, False)) == "too_late_to_cancel"
    code, after = await told(world, post, await ask(post, True))
    assert (code, after.status) == (None, "cancelled")


LIVE_OR_LOST = ["published", "sent_to_inbox", "unconfirmed", "failed"]


@pytest.mark.parametrize(("ended", "code"), [*((one, "too_late_to_cancel") for one in LIVE_OR_LOST), ("cancelled", None)])
async def test_asked_again_after_it_was_undecided_it_is_not_hidden(world: Any, ended: str, code: str | None) -> None:
    """A 204 would say that it was stopped; whoever sends a third one knows how it ended."""
    post = await world.post(status="due", attempt=1, next_attempt_at=None, scheduled_time=utc_now())
    assert await refused(world, post, await ask(post, PublisherAway("x"))) == "cancel_undecided"
    await world.execute("UPDATE posts SET status = :ended, attempt = 2, ended_at = now()", ended=ended)
    post = await world.reload(post)
    assert await told(world, post, await ask(post, False)) == (code, replace(post, cancel_asked=False))
    _, after = await told(world, post, await ask(post, False))
    assert after.deleted_at is not None


async def test_what_ended_after_the_request_was_sent_is_not_hidden_by_it(world: Any) -> None:
    """The request waited for a scheduler, or is delivered once more."""
    sent_at = utc_now()
    post = await world.post(status="published", attempt=1, next_attempt_at=None, ended_at=sent_at + timedelta(seconds=1))
    asked = await ask_publisher(Publisher(False), post, sent_at=sent_at)  # type: ignore[arg-type]
    assert await refused(world, post, asked) == "too_late_to_cancel"


async def test_read_as_processing_and_failed_before_the_lock_it_is_not_hidden(world: Any) -> None:
    """The request was to stop a post on its way, not to take a failed one off the lists."""
    post = await world.post(status="processing", attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    asked = await ask(post, False)
    await world.execute("UPDATE posts SET status = 'failed'")
    assert await refused(world, await world.reload(post), asked) == "too_late_to_cancel"


async def test_an_attempt_that_failed_is_cancelled_and_not_retried(world: Any) -> None:
    """The publisher's job has failed, which the scheduler has not heard of yet: the post is processing here."""
    post = await world.post(status="processing", attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    _, after = await told(world, post, Asked(PostState.DUE, Word(attempt=2, cancelled=True)))
    assert after.status == "cancelled"
    late = Happening(Kind.FAILED_RETRY, 2, 9)
    assert transition(after.standing, late) is None


async def test_failed_for_good_meanwhile_it_is_stopped_and_stays_on_the_lists(world: Any) -> None:
    post = await world.post(status="failed", attempt=2, next_attempt_at=None, scheduled_time=utc_now())
    assert await told(world, post, Asked(PostState.DUE, Word(attempt=2, cancelled=True))) == (None, post)
    assert await world.told() == []


async def test_a_retry_that_waits_again_is_cancelled_without_the_word(world: Any) -> None:
    post = await world.post(status="retry_scheduled", attempt=1)
    _, after = await told(world, post, Asked(PostState.DUE, Word(attempt=1, cancelled=False)))
    assert after.status == "cancelled"
    (envelope,) = await world.told()
    assert (envelope.userid, envelope.actor) == (post.user_id, "service:scheduler")
    ended = {"status": ["retry_scheduled", "cancelled"], "ended_at": [None, rfc3339(after.ended_at)]}
    assert envelope.data["changes"] == ended


async def delete_while(world: Any, post: Post, *, becomes: str) -> tuple[str | None, Post]:
    """Have the post change its state between the two moments of a DELETE: after it was read, before it is locked."""
    asked = await ask(post, AssertionError("it waited, or had ended, when it was read"))
    await world.execute("UPDATE posts SET status = :status, attempt = 1 WHERE id = :id", status=becomes, id=post.id)
    return await told(world, post, asked)


@pytest.mark.parametrize("status", ["scheduled", "retry_scheduled", "draft"])
@pytest.mark.parametrize("becomes", LIVE_OR_LOST)
async def test_waiting_when_read_and_ended_before_the_lock_it_is_not_hidden(world: Any, status: str, becomes: str) -> None:
    """204 would say that nothing is published, and the lists would agree."""
    post = await world.post(status=status)
    code, after = await delete_while(world, post, becomes=becomes)
    assert (code, after.status, after.deleted_at) == ("too_late_to_cancel", becomes, None)
    assert await world.told() == []


async def test_waiting_when_read_and_cancelled_before_the_lock_it_stays_on_the_lists(world: Any) -> None:
    post = await world.post()
    _, after = await delete_while(world, post, becomes="cancelled")
    assert (after.status, after.deleted_at) == ("cancelled", None)
    assert await world.told() == []


async def test_taken_off_the_lists_while_it_ends_in_another_way_it_is_to_be_looked_at_first(world: Any) -> None:
    """Who takes a failed post off the lists does not know that it is live after all."""
    post = await world.post(status="failed")
    code, after = await delete_while(world, post, becomes="published")
    assert (code, after.deleted_at) == ("post_changed", None)


@pytest.mark.parametrize("status", ["published", "failed", "cancelled", "unconfirmed", "sent_to_inbox"])
async def test_ended_at_both_moments_it_is_taken_off_the_lists(world: Any, status: str) -> None:
    _, after = await delete_while(world, await world.post(status=status), becomes=status)
    assert after.deleted_at is not None
