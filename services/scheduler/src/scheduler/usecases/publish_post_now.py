"""Make a waiting post due at once."""

from datetime import datetime
from uuid import UUID

from common.contracts.context import Context
from common.contracts.scheduler import PostUpdated
from common.database.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from scheduler.domain.owner_requests import is_overtaken
from scheduler.domain.post import Post
from scheduler.domain.post_states import WAITING
from scheduler.domain.schedule_time import deadline_of_request
from scheduler.encoding import moment
from scheduler.storage.clock import database_now
from scheduler.storage.posts import change_post, lock_post
from scheduler.usecases.post_events import wrap_event
from scheduler.usecases.problems import hint_of_unconfirmed, overtaken, post_not_found
from scheduler.usecases.waker import Waker


async def publish_post_now(
    tx: Transaction, outbox: Outbox, waker: Waker, post_id: UUID, user_id: UUID, *, sent_at: datetime, context: Context
) -> Post:
    """Set the time of a scheduled or retrying post to now, by the database's clock, and its deadline to 24 hours from `sent_at`.

    Raises Problem 404; 409 `account_not_active` while the account is paused or expired, `post_changed` when a later request came
    first, `post_not_waiting` in every other state.
    """
    post = await lock_post(tx.connection, post_id, user_id)
    if post is None:
        raise post_not_found()
    if post.state not in WAITING:
        raise _not_waiting(post)
    if is_overtaken(sent_at, by=post.requested_at):
        raise overtaken()
    if post.held:
        raise Problem(
            409,
            "account_not_active",
            "The TikTok account is paused or must be connected again; the post goes on by itself when it is back.",
            hint="Resume the account, or connect it again.",
        )
    now = await database_now(tx.connection)
    columns = {"next_attempt_at": now, "publish_before": deadline_of_request(sent_at, now=now)}
    changed = await change_post(tx.connection, post, {**columns, "cancel_asked": False}, requested_at=sent_at)
    event = PostUpdated(
        post_id=changed.id,
        account_id=changed.account_id,
        status=changed.status,
        attempt=changed.attempt,
        scheduled_time=changed.scheduled_time,
        changes={name: [moment(getattr(old, name)) for old in (post, changed)] for name in columns},
    )
    await outbox.emit_all(tx, [wrap_event(outbox, changed, event, context)])
    waker.wake_for(tx, changed)
    return changed


def _not_waiting(post: Post) -> Problem:
    hints = {
        "draft": "Give it a time first: PATCH with scheduled_time and draft: false.",
        "failed": "Use POST /posts/{id}/retry.",
        "unconfirmed": hint_of_unconfirmed(post),
    }
    return Problem(
        409,
        "post_not_waiting",
        f"The post is {post.status}; only a waiting post can be published now.",
        hint=hints.get(post.status),
    )
