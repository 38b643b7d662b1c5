"""A person settles a post whose outcome could not be known, or whose failure a webhook denied: it is live at TikTok."""

from urllib.parse import quote
from uuid import UUID

from common.contracts.context import Context
from common.contracts.publisher import WEBHOOK_DENIES_FAILURE
from common.contracts.scheduler import PostPublished
from common.database.database import Transaction
from common.errors import FieldError, Problem
from common.messaging.outbox import Outbox
from scheduler.domain.post import Post
from scheduler.domain.post_states import Happening, Kind, transition
from scheduler.domain.video_id import is_video_id
from scheduler.storage.accounts import get_account
from scheduler.storage.clock import database_now
from scheduler.storage.posts import change_post, lock_post
from scheduler.usecases.post_changes import changes_between
from scheduler.usecases.post_events import wrap_event
from scheduler.usecases.problems import post_not_found


async def confirm_post(
    tx: Transaction, outbox: Outbox, post_id: UUID, user_id: UUID, tiktok_video_id: str, *, context: Context
) -> Post:
    """Make a post that may be live published, on its owner's word; the event tells so.

    `published_at` is the moment of the word: when TikTok published it is not known. Raises Problem 422 for an id that is none, 404,
    409 `post_not_unconfirmed`.
    """
    if not is_video_id(tiktok_video_id):
        raise invalid_video_id()
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None:
        raise post_not_found()
    state = transition(post.standing, Happening(Kind.CONFIRM)) if post.is_in_doubt else None
    if state is None:
        raise Problem(
            409,
            "post_not_unconfirmed",
            f"The post is {post.status}; only one that is unconfirmed, or failed with {WEBHOOK_DENIES_FAILURE}, can be confirmed.",
        )
    now = await database_now(tx.connection)
    columns = {
        "status": state.value,
        "tiktok_video_id": tiktok_video_id,
        "video_id_by_owner": True,
        "video_url": await _video_url(tx, post, tiktok_video_id),
        "published_at": now,
        "ended_at": now,
        "error_code": None,
        "error_message": None,
        "error_hint": None,
        "cancel_asked": False,
    }
    changed = await change_post(tx.connection, post, columns)
    event = PostPublished(
        post_id=changed.id,
        account_id=changed.account_id,
        status=changed.status,
        attempt=changed.attempt,
        scheduled_time=changed.scheduled_time,
        by_owner=True,
        changes=changes_between(post, changed),
        publish_id=changed.publish_id,
        tiktok_video_id=changed.tiktok_video_id,
        video_url=changed.video_url,
        published_at=now,
    )
    await outbox.emit_all(tx, [wrap_event(outbox, changed, event, context)])
    return changed


def invalid_video_id() -> Problem:
    """Return the 422 of a video id that TikTok cannot have given."""
    detail = "A TikTok video id is a number of up to 19 digits, sent as text."
    return Problem(
        422,
        "invalid_request",
        detail,
        hint="It is the last part of the video's address: tiktok.com/@name/video/<id>.",
        errors=[FieldError("tiktok_video_id", "invalid_video_id", detail)],
    )


async def _video_url(tx: Transaction, post: Post, tiktok_video_id: str) -> str | None:
    account = await get_account(tx.connection, post.account_id, post.user_id) if post.account_id is not None else None
    if account is None:
        return None
    # Where the grant shows no username, it is the display name, which may be any text.
    kind, name = "photo" if post.photo_urls else "video", quote(account.username, safe="")
    return f"https://www.tiktok.com/@{name}/{kind}/{tiktok_video_id}"
