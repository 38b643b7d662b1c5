"""Where a post is right now, from the own row and what the publisher knows."""

from datetime import datetime
from typing import Any

from scheduler.clients.publisher import Progress
from scheduler.domain.holds import hold_of
from scheduler.domain.post import Post
from scheduler.domain.post_states import MOVING, PostState
from scheduler.encoding import moment

_DRAFT_DELIVERED = {
    "code": "draft_delivered",
    "message": "The draft lies in the creator's TikTok inbox. It is published when its creator posts it.",
    "hint": "The creator finds it in the TikTok app, among the messages of the inbox.",
}
_HANDED_OVER = {
    "code": "handed_over",
    "message": "Its time has come. It was handed to the publisher, which has not taken it up yet.",
    "hint": "Nothing to do; it is handed over again if that takes long.",
}
_WAIT_FOR_ACCOUNT = "wait_for_account"
_CONFIRM_OR_RETRY = "confirm_or_retry"
_NEXT_STEPS: dict[PostState, str | None] = {
    PostState.DRAFT: "schedule",
    PostState.SCHEDULED: "publish",
    PostState.RETRY_SCHEDULED: "retry",
    PostState.DUE: "start",
    PostState.PUBLISHING: "upload",
    PostState.DEFERRED: "resume",
    PostState.PROCESSING: "wait_for_tiktok",
    PostState.SENT_TO_INBOX: "creator_posts_it",
}


def post_status(post: Post, progress: Progress | None) -> dict[str, Any]:
    """Return the body of GET `/posts/{id}/status`; progress counts while its attempt is the post's current one."""
    told = progress if progress is not None and progress.attempt == post.attempt else None
    next_step, next_step_at = _next(post, told)
    return {
        "post_id": str(post.id),
        "status": post.status,
        "attempt": post.attempt,
        "fetch": told.fetch.model_dump() if told is not None and told.fetch is not None else None,
        "upload": told.upload.model_dump() if told is not None and told.upload is not None else None,
        "publish_id": post.publish_id or (told.publish_id if told is not None else None),
        "tiktok_status": told.tiktok_status if told is not None else None,
        "next_step": next_step,
        "next_step_at": moment(next_step_at),
        "reason": _reason(post, told),
        "updated_at": moment(_newest(post.updated_at, told)),
    }


def is_told_by_publisher(post: Post) -> bool:
    """Whether the publisher knows more of the post than its row: it moves, or something about it is still to be found out."""
    if post.state is PostState.PUBLISHED:
        return post.tiktok_video_id is None
    return post.state in MOVING or post.state is PostState.UNCONFIRMED


def _next(post: Post, told: Progress | None) -> tuple[str | None, datetime | None]:
    if post.held:
        return _WAIT_FOR_ACCOUNT, None
    if told is not None and is_told_by_publisher(post) and told.next_step is not None:
        return told.next_step, told.next_step_at
    if post.state is PostState.DEFERRED and post.forecast_at is None:
        return _WAIT_FOR_ACCOUNT, None
    if post.is_in_doubt:
        return _CONFIRM_OR_RETRY, None
    return _NEXT_STEPS.get(post.state), post.next_attempt_at or post.forecast_at


def _reason(post: Post, told: Progress | None) -> dict[str, str | None] | None:
    if post.held:
        hold = hold_of(post.held_reason)
        return {"code": hold.code, "message": hold.message, "hint": hold.hint}
    if told is not None and told.reason is not None and is_told_by_publisher(post):
        return told.reason.model_dump()
    if post.state is PostState.SENT_TO_INBOX:
        return dict(_DRAFT_DELIVERED)
    if post.state is PostState.DUE and told is None:
        return dict(_HANDED_OVER)
    if post.error_code is None:
        return None
    return {"code": post.error_code, "message": post.error_message, "hint": post.error_hint}


def _newest(updated_at: datetime, told: Progress | None) -> datetime:
    if told is None or told.updated_at is None or told.updated_at.tzinfo is None:
        return updated_at
    return max(updated_at, told.updated_at)
