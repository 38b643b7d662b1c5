"""Cancel a post: by the scheduler's own word while it waits, by the publisher's once it is due."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.scheduler import PostCancelled, PostUpdated
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.clients.publisher import PublisherAway, PublisherClient, PublisherUndecided
from scheduler.domain.post import Post
from scheduler.domain.post_states import FINISHED, MOVING, Happening, Kind, PostState, transition
from scheduler.encoding import moment
from scheduler.storage.posts import change_post, lock_post
from scheduler.usecases.post_changes import changes_between
from scheduler.usecases.post_events import wrap_event
from scheduler.usecases.problems import cancel_undecided, cancel_under_way, post_changed, post_not_found, too_late_to_cancel


@dataclass(frozen=True, slots=True)
class Word:
    """The publisher's decision on one attempt of a post."""

    attempt: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What was found out before the transaction.

    `seen` is the state in which the post was then, None when there was none; `word` the publisher's, None when it did not have the
    post in hand.
    """

    seen: PostState | None
    word: Word | None = None


async def ask_publisher(publisher: PublisherClient, post: Post | None) -> Asked:
    """Get the publisher's word on a post it has in hand; raises Problem 503 `cancel_undecided`.

    It is not asked about a post that TikTok processes: that is too late, unless TikTok fetches it by itself.
    """
    if post is None:
        return Asked(None)
    if post.state not in MOVING:
        return Asked(post.state)
    if post.state is PostState.PROCESSING and not post.is_fetched_by_tiktok:
        return Asked(post.state, Word(post.attempt, cancelled=False))
    try:
        return Asked(post.state, Word(post.attempt, await publisher.cancel(post.id, post.attempt)))
    except PublisherAway:
        raise cancel_undecided() from None
    except PublisherUndecided:
        raise cancel_under_way() from None


async def cancel_post(
    tx: Transaction, outbox: Outbox, post_id: UUID, user_id: UUID, asked: Asked, *, context: Context
) -> Post:
    """Cancel a waiting post; take a draft or a finished one off the lists, which `PostUpdated` tells.

    Taken off is only what had ended in the same way when it was `asked` about, before this transaction. Raises Problem 404; 409
    `too_late_to_cancel`, also of a post that ended since; 409 `post_changed` of one that had ended, and then in another way;
    503 `cancel_undecided` when the post became due only after the publisher would have been asked: the client may try again.
    """
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None:
        raise post_not_found()
    if transition(post.standing, Happening(Kind.CANCEL)) is not None:
        columns = {"deleted_at": utc_now()} if post.state is PostState.DRAFT else {}
        return await _cancel(tx, outbox, post, columns, context)
    if post.state in MOVING:
        _require_word(post, asked.word)
        return await _cancel(tx, outbox, post, {}, context)
    if asked.seen is post.state:
        return await _hide(tx, outbox, post, context)
    if asked.seen in FINISHED:
        raise post_changed()
    # It waited or was on its way when it was asked about, and has ended since: this request was to stop it, not to hide it.
    is_stopped = post.state is PostState.CANCELLED or (post.state is PostState.FAILED and _confirms(asked.word, post))
    if not is_stopped:
        raise too_late_to_cancel(post.status)
    return post


async def _hide(tx: Transaction, outbox: Outbox, post: Post, context: Context) -> Post:
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
    return changed


def _require_word(post: Post, word: Word | None) -> None:
    """Pass only when the publisher said of the post's current attempt that it published nothing and never will."""
    if _confirms(word, post):
        return
    may_be_stopped = post.state is not PostState.PROCESSING or post.is_fetched_by_tiktok
    if may_be_stopped and (word is None or word.attempt != post.attempt):
        raise cancel_undecided()
    raise too_late_to_cancel(post.status)


def _confirms(word: Word | None, post: Post) -> bool:
    return word is not None and word.attempt == post.attempt and word.cancelled


async def _cancel(tx: Transaction, outbox: Outbox, post: Post, columns: dict[str, Any], context: Context) -> Post:
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
    return changed
