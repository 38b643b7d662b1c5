"""Another attempt of a post at its owner's wish: of a failed one, or of one whose outcome a person vouches for."""

from datetime import datetime
from uuid import UUID

from common.contracts.context import Context
from common.contracts.scheduler import PostRetryScheduled
from common.database.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.media import MediaStatus
from scheduler.domain.owner_requests import is_overtaken
from scheduler.domain.post import Post
from scheduler.domain.post_states import Happening, Kind, PostState, transition
from scheduler.domain.schedule_time import deadline_of_request
from scheduler.storage.accounts import lock_account
from scheduler.storage.clock import database_now
from scheduler.storage.media import find_media
from scheduler.storage.posts import change_post, find_duplicates, get_post, lock_post, serialise_duplicates
from scheduler.usecases.judge_posts import duplicate_finding
from scheduler.usecases.look_before_retry import LastLook
from scheduler.usecases.post_changes import changes_between
from scheduler.usecases.post_events import wrap_event
from scheduler.usecases.problems import overtaken, post_not_found, problem_of, retry_undecided
from scheduler.usecases.waker import Waker


async def retry_post(
    tx: Transaction,
    outbox: Outbox,
    waker: Waker,
    post_id: UUID,
    user_id: UUID,
    *,
    confirm_not_published: bool,
    look: LastLook | None,
    allow_duplicate: bool,
    sent_at: datetime,
    context: Context,
) -> Post:
    """Make the post due at once as a new attempt, with 24 hours from `sent_at` and the machine's retries counted from zero.

    An unconfirmed post, or one whose failure a webhook denied, only with `confirm_not_published`, and after a look at TikTok at
    all its attempts. They are then dismissed by the owner's word, which goes to the publisher with the next one. Raises Problem
    404; 409 `post_changed` when a later request came first, or the word was given before the attempt ended;
    `confirmation_required`, `post_not_retryable`, `account_not_active`, `media_not_available`, `duplicate_media` unless
    `allow_duplicate`; 503 `retry_undecided` when the post became such a one only after the look.
    """
    post = await get_post(tx.connection, post_id, user_id)
    if post is not None and post.account_id is not None:
        await _require_account(tx, post.account_id)
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None:
        raise post_not_found()
    state = transition(post.standing, Happening(Kind.RETRY))
    if state is None:
        raise _not_retryable(post)
    if is_overtaken(sent_at, by=post.requested_at):
        raise overtaken()
    needs_word = post.is_in_doubt
    if needs_word and not confirm_not_published:
        raise _failure_denied() if post.is_failure_denied else _confirmation_required(post)
    if needs_word and is_overtaken(sent_at, by=post.ended_at):
        # A word about an attempt before this one.
        raise overtaken()
    if needs_word and (look is None or look.attempt != post.attempt):
        raise retry_undecided()
    await _require_media(tx, post)
    if not allow_duplicate:
        await _require_no_duplicate(tx, post)
    now = await database_now(tx.connection)
    columns = {
        "status": state.value,
        "next_attempt_at": now,
        "publish_before": deadline_of_request(sent_at, now=now),
        "retry_count": 0,
        "dismissed_attempts": post.attempt if needs_word else post.dismissed_attempts,
        "publish_id": None,
        "ended_at": None,
        "cancel_asked": False,
    }
    changed = await change_post(tx.connection, post, columns, new_video=True, requested_at=sent_at)
    event = PostRetryScheduled(
        post_id=changed.id,
        account_id=changed.account_id,
        status=changed.status,
        attempt=changed.attempt,
        scheduled_time=changed.scheduled_time,
        by_owner=True,
        changes=changes_between(post, changed),
        confirmed_not_published=needs_word,
        not_videos=[] if look is None else list(look.not_videos),
        next_attempt_at=now,
        code="confirmed_not_published" if needs_word else "retried_by_owner",
        message="Its owner says that it was not published." if needs_word else "Its owner wants another attempt.",
    )
    await outbox.emit_all(tx, [wrap_event(outbox, changed, event, context)])
    waker.wake_for(tx, changed)
    return changed


async def _require_account(tx: Transaction, account_id: UUID) -> None:
    require_account(await lock_account(tx.connection, account_id))


def require_account(account: AccountCopy | None) -> None:
    """Raise Problem 409 `account_not_active` unless posts of the account may go out."""
    if account is None or account.deleted:
        raise Problem(
            409, "account_not_active", "The TikTok account was disconnected.", hint="Connect it again, then retry the post."
        )
    if account.hold_reason is not None:
        raise Problem(
            409,
            "account_not_active",
            "The TikTok account is paused or must be connected again.",
            hint="Resume the account, or connect it again, then retry the post.",
        )


async def _require_media(tx: Transaction, post: Post) -> None:
    if post.media_id is None:
        return
    found = await find_media(tx.connection, [post.media_id], post.user_id, lock=True)
    media = found.get(post.media_id)
    if media is None or media.status != MediaStatus.READY:
        raise Problem(
            409,
            "media_not_available",
            "The file of this post is not in the library any more.",
            hint="Upload it again and create a new post.",
        )


async def _require_no_duplicate(tx: Transaction, post: Post) -> None:
    """Pass when no other post of the last 24 hours has this video for this account, by the rules of creation."""
    if post.account_id is None or post.media_sha256 is None:
        return
    pair = post.account_id, post.media_sha256
    await serialise_duplicates(tx.connection, [pair])
    twins = await find_duplicates(tx.connection, [pair], post.user_id, other_than=post.id)
    if pair in twins:
        raise problem_of([duplicate_finding(twins[pair])])


def _confirmation_required(post: Post) -> Problem:
    # Of a lost answer something may come for an hour where TikTok fetches, and of nothing else.
    wait = (
        "wait until an hour has passed since it was handed to TikTok, look again, then " if post.is_fetched_by_tiktok else ""
    )
    return Problem(
        409,
        "confirmation_required",
        "Whether this post went live could not be found out; trying again might publish it twice.",
        hint="Look at the TikTok profile. If it is there, confirm it. If it is not, "
        f'{wait}send {{"confirm_not_published": true}}.',
    )


def _failure_denied() -> Problem:
    return Problem(
        409,
        "confirmation_required",
        "TikTok's status says that this post failed, but a webhook said that it is there; trying again might publish it twice.",
        hint="Look at the TikTok profile, and into the app's inbox if it was to be a draft. If it is on the profile, confirm it. "
        'If it is nowhere, send {"confirm_not_published": true}.',
    )


def _not_retryable(post: Post) -> Problem:
    hints = {
        PostState.DRAFT: "Give it a time: PATCH with scheduled_time and draft: false.",
        PostState.SCHEDULED: "It has not been tried yet; POST /posts/{id}/publish-now makes it due at once.",
        PostState.RETRY_SCHEDULED: "It is tried again by itself; POST /posts/{id}/publish-now makes it due at once.",
        PostState.CANCELLED: "Create a new post.",
        PostState.SENT_TO_INBOX: "It lies in the creator's TikTok inbox; its creator posts it in the app.",
    }
    return Problem(
        409,
        "post_not_retryable",
        f"The post is {post.status}; only failed and unconfirmed posts can be tried again.",
        hint=hints.get(post.state),
    )
