"""The event that tells of a post's new state."""

from collections.abc import Sequence
from typing import Any

from common.contracts import scheduler as contract
from common.contracts.context import Context
from common.contracts.envelope import Envelope
from common.contracts.scheduler import PostEvent
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.holds import hold_of
from scheduler.domain.post import Post
from scheduler.domain.post_states import WAITING, PostState
from scheduler.usecases.post_changes import first_values

SERVICE = "scheduler"
RELEASED = "account_active"


def own_context(post: Post) -> Context:
    """Return the context of what the scheduler does to a user's post by itself."""
    return Context.of_service(SERVICE, user_id=post.user_id, correlation_id=post.correlation_id)


def wrap_event(outbox: Outbox, post: Post, event: PostEvent, context: Context) -> Envelope:
    """Wrap an event about a post: subject is its id, sequence its version, user its owner."""
    owned = context if context.user_id is not None else own_context(post)
    return outbox.envelope(event, subject=str(post.id), context=owned, sequence=post.version)


async def emit_state(tx: Transaction, outbox: Outbox, post: Post, context: Context, *, reason: str | None = None) -> None:
    """Emit the event of the state that `post` is in now, if that state has one."""
    await emit_states(tx, outbox, [post], context, reason=reason)


async def emit_states(
    tx: Transaction, outbox: Outbox, posts: Sequence[Post], context: Context, *, reason: str | None = None
) -> None:
    """Emit the events of many posts' states in one statement; a post that begins to wait held tells that besides."""
    told: list[Envelope] = []
    for post in posts:
        event = state_event(post, reason=reason)
        if event is not None:
            told.append(wrap_event(outbox, post, event, context))
        if post.held and post.state in WAITING:
            told.append(wrap_event(outbox, post, held_event(post), context))
    await outbox.emit_all(tx, told)


def held_event(post: Post) -> contract.PostHeld:
    """Return the event that tells that a post is held now, or not any more."""
    return contract.PostHeld(
        post_id=post.id,
        account_id=post.account_id,
        status=post.status,
        attempt=post.attempt,
        scheduled_time=post.scheduled_time,
        held=post.held,
        reason=hold_of(post.held_reason).code if post.held else RELEASED,
    )


def state_event(post: Post, *, reason: str | None = None) -> PostEvent | None:
    """Return the event of the state that `post` is in now.

    None for the states that the publisher's own events tell of (publishing, deferred, processing) and for `due`, whose event
    carries the content and is written by the claim. A draft or scheduled post is a new one: a draft that gets its time is told of
    by the change. `reason` says why a post was cancelled.
    """
    common = {
        "post_id": post.id,
        "account_id": post.account_id,
        "status": post.status,
        "attempt": post.attempt,
        "scheduled_time": post.scheduled_time,
    }
    error = {"code": post.error_code or "unknown", "message": post.error_message or "", "hint": post.error_hint}
    match post.state:
        case PostState.DRAFT:
            return contract.PostDrafted.model_validate({**common, **_first(post)})
        case PostState.SCHEDULED:
            return contract.PostScheduled.model_validate({**common, **_first(post)})
        case PostState.RETRY_SCHEDULED:
            return contract.PostRetryScheduled.model_validate({**common, **error, "next_attempt_at": post.next_attempt_at})
        case PostState.FAILED:
            return contract.PostFailed.model_validate({**common, **error})
        case PostState.UNCONFIRMED:
            return contract.PostUnconfirmed.model_validate({**common, **error})
        case PostState.CANCELLED:
            return contract.PostCancelled.model_validate({**common, "reason": reason or "cancelled"})
        case PostState.PUBLISHED | PostState.SENT_TO_INBOX:
            outcome = {
                "publish_id": post.publish_id,
                "tiktok_video_id": post.tiktok_video_id,
                "video_url": post.video_url,
                "published_at": post.published_at,
            }
            return contract.PostPublished.model_validate({**common, **outcome})
        case _:
            return None


def _first(post: Post) -> dict[str, Any]:
    return {"changes": first_values(post), "warnings": post.warnings}
