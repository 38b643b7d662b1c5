"""Cancel a post: by the scheduler's own word while it waits, by the publisher's once it is due."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.scheduler import PostCancelled, PostUpdated
from common.database.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import PublisherAway, PublisherUndecided
from scheduler.clients.publisher_places import PublisherPlaces
from scheduler.domain.post import Post
from scheduler.domain.post_states import FINISHED, MOVING, Happening, Kind, PostState, transition
from scheduler.encoding import moment
from scheduler.storage.posts import change_post, lock_post, note_cancel_asked
from scheduler.usecases.post_changes import changes_between
from scheduler.usecases.post_events import wrap_event
from scheduler.usecases.problems import cancel_undecided, cancel_under_way, post_changed, post_not_found, too_late_to_cancel

UNDECIDED = 503


@dataclass(frozen=True, slots=True)
class Word:
    """The publisher's decision on one attempt of a post."""

    attempt: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What was found out before the transaction.

    `seen` is the state in which the post was then, None when there was none, or when it has ended only since its owner sent the
    request; `word` the publisher's, None when it did not have the post in hand, or did not give it: `undecided` is then what its
    owner is told.
    """

    seen: PostState | None
    word: Word | None = None
    undecided: Problem | None = None


async def ask_publisher(publisher: PublisherPlaces, post: Post | None, *, sent_at: datetime) -> Asked:
    """Get the publisher's word on a post it has in hand, for a request of the moment `sent_at`.

    It is not asked about a post that TikTok processes: that is too late, unless TikTok fetches it by itself.
    """
    if post is None or (post.state in FINISHED and post.ended_at is not None and post.ended_at > sent_at):
        return Asked(None)
    if post.state not in MOVING:
        return Asked(post.state)
    if post.state is PostState.PROCESSING and not post.is_fetched_by_tiktok:
        return Asked(post.state, Word(post.attempt, cancelled=False))
    try:
        return Asked(post.state, Word(post.attempt, await publisher.cancel(post)))
    except PublisherAway:
        return Asked(post.state, undecided=cancel_undecided())
    except PublisherUndecided:
        return Asked(post.state, undecided=cancel_under_way())


async def cancel_post(
    tx: Transaction, outbox: Outbox, post_id: UUID, user_id: UUID, asked: Asked, *, context: Context
) -> Problem | None:
    """Cancel a waiting post; take a draft or a finished one off the lists, which `PostUpdated` tells.

    Taken off is only what had ended in the same way before this transaction, and when its owner sent the request; and not by
    the first request after a `cancel_undecided`: that one asks again to stop the post.

    Returns None when it is done. Returns the refusal where this transaction notes that it was told: 503 `cancel_undecided` while
    the publisher has not decided, the client may try again; 409 `too_late_to_cancel` to who does so once the post has ended.
    Raises Problem 404; both others where there is nothing to note; 409 `post_changed` of a post that had ended, and then in
    another way.
    """
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None:
        raise post_not_found()
    if transition(post.standing, Happening(Kind.CANCEL)) is not None:
        columns = {"deleted_at": utc_now()} if post.state is PostState.DRAFT else {}
        await _cancel(tx, outbox, post, columns, context)
        return None
    if post.state in MOVING:
        if _confirms(asked.word, post):
            await _cancel(tx, outbox, post, {}, context)
            return None
        return await _tell(tx, post, _refusal(post, asked))
    if asked.seen is post.state and not post.cancel_asked:
        await _hide(tx, outbox, post, context)
        return None
    if asked.seen in FINISHED and asked.seen is not post.state:
        raise post_changed()
    # This request, or one before it, was to stop the post, which has ended since: it is not to be hidden.
    is_stopped = post.state is PostState.CANCELLED or (post.state is PostState.FAILED and _confirms(asked.word, post))
    return await _tell(tx, post, None if is_stopped else too_late_to_cancel(post.status))


async def _hide(tx: Transaction, outbox: Outbox, post: Post, context: Context) -> None:
    changed = await change_post(tx.connection, post, {"deleted_at": utc_now()})
    event = PostUpdated(
        post_id=changed.id,
        account_id=changed.account_id,
        status=changed.status,
        attempt=changed.attempt,
        scheduled_time=changed.scheduled_time,
        changes={"deleted_at": [None, moment(changed.deleted_at)]},
    )
    await outbox.emit_all(tx, [wrap_event(outbox, changed, event, context)])


def _refusal(post: Post, asked: Asked) -> Problem:
    """Return what is told of a post on its way: that it is too late where the publisher said so, else that it is not decided."""
    may_be_stopped = post.state is not PostState.PROCESSING or post.is_fetched_by_tiktok
    if may_be_stopped and (asked.word is None or asked.word.attempt != post.attempt):
        return asked.undecided or cancel_undecided()
    return too_late_to_cancel(post.status)


def _confirms(word: Word | None, post: Post) -> bool:
    """Tell whether the publisher said of the post's current attempt that it published nothing and never will."""
    return word is not None and word.attempt == post.attempt and word.cancelled


async def _tell(tx: Transaction, post: Post, refusal: Problem | None) -> Problem | None:
    """Note whether the owner's wish to stop the post is still open after this answer; raises a refusal that changes nothing."""
    is_open = refusal is not None and refusal.status == UNDECIDED
    if is_open is not post.cancel_asked:
        await note_cancel_asked(tx.connection, post, is_open=is_open)
    elif refusal is not None:
        raise refusal
    return refusal


async def _cancel(tx: Transaction, outbox: Outbox, post: Post, columns: dict[str, Any], context: Context) -> None:
    ended: dict[str, Any] = {
        "status": PostState.CANCELLED.value,
        "held": False,
        "held_reason": None,
        "next_attempt_at": None,
        "forecast_at": None,
        "sweep_at": None,
        "cancel_at": None,
        "ended_at": utc_now(),
        # What an attempt failed with is not why it ends: a person wants it so.
        "error_code": None,
        "error_message": None,
        "error_hint": None,
        "cancel_asked": False,
    }
    changed = await change_post(tx.connection, post, ended | columns)
    event = PostCancelled(
        post_id=changed.id,
        account_id=changed.account_id,
        status=changed.status,
        attempt=changed.attempt,
        scheduled_time=changed.scheduled_time,
        changes=changes_between(post, changed),
        reason="cancelled_by_user",
    )
    await outbox.emit_all(tx, [wrap_event(outbox, changed, event, context)])
