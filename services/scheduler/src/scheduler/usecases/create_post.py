"""Create posts: drafts, or ones that are scheduled at once; one by one and many together take the same path."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from common.contracts.envelope import Envelope
from common.database.database import Transaction
from common.errors import Problem
from common.ids import uuid7
from common.messaging.outbox import Outbox
from scheduler.domain.caption import join_title
from scheduler.domain.post import Post
from scheduler.encoding import warning_json
from scheduler.storage.posts import insert_posts
from scheduler.usecases.judge_posts import Candidate, Judged, judge_posts
from scheduler.usecases.post_events import emit_states
from scheduler.usecases.problems import problem_of
from scheduler.usecases.waker import Waker


async def create_post(tx: Transaction, outbox: Outbox, waker: Waker, candidate: Candidate, envelope: Envelope) -> Post:
    """Store the post and emit `PostScheduled` or `PostDrafted`, and `PostHeld` when it waits for its account.

    Raises Problem: the refusal of every broken rule, 404, 409 or 422. Guarantees: the same video for the same account is stored
    once however many creates run at the same time; an account that changes meanwhile holds the post.
    """
    (judged,) = await judge_posts(tx, [candidate], owner(envelope), lock=True)
    if judged.findings:
        raise problem_of(judged.findings)
    (post,) = await store_posts(tx, outbox, waker, [judged], envelope)
    return post


async def store_posts(
    tx: Transaction, outbox: Outbox, waker: Waker, judged: Sequence[Judged], envelope: Envelope
) -> list[Post]:
    """Store posts that broke no rule, in the order given, and emit their events."""
    rows = [_columns(one, envelope) for one in judged]
    posts = await insert_posts(tx.connection, rows)
    await emit_states(tx, outbox, posts, envelope.context)
    for post in posts:
        waker.wake_for(tx, post)
    return posts


def owner(envelope: Envelope) -> UUID:
    """Return the user a command is from; every command of this service has one. Raises Problem 401 otherwise."""
    if envelope.userid is None:
        raise Problem(401, "unauthorized", "The command names no user.")
    return envelope.userid


def belonging(judged: Judged) -> dict[str, Any]:
    """Return the columns that follow from a post's account, media and text."""
    fields, account = judged.wanted.fields, judged.account
    return {
        "account_id": account.id if account is not None else None,
        "held": judged.hold_reason is not None,
        "held_reason": judged.hold_reason,
        "title": join_title(fields.caption, fields.hashtags, fields.mentions),
        "media_sha256": judged.media.sha256 if judged.media is not None else None,
        "warnings": [warning_json(item) for item in judged.warnings],
    }


def _columns(judged: Judged, envelope: Envelope) -> dict[str, Any]:
    wanted = judged.wanted
    return {
        **wanted.columns(),
        **belonging(judged),
        "id": uuid7(),
        "user_id": owner(envelope),
        "status": "draft" if wanted.fields.draft else "scheduled",
        "next_attempt_at": None if wanted.fields.draft else wanted.scheduled_time,
        "correlation_id": envelope.correlationid,
    }
