"""Apply what the publisher tells of an attempt to its post."""

import random
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from common.contracts import publisher as contract
from common.contracts.envelope import Envelope
from common.contracts.scheduler import PostUpdated
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.outcome import ACCOUNT_DISCONNECTED, GIVEN_UP, Change, Patience, Reason, Report, judge
from scheduler.domain.post import Post
from scheduler.domain.post_states import Kind, PostState
from scheduler.domain.retry import Failure, RetryPolicy
from scheduler.storage.accounts import lock_account
from scheduler.storage.clock import database_now
from scheduler.storage.posts import change_post, lock_post, note_sequence
from scheduler.usecases.post_events import emit_state, wrap_event
from scheduler.usecases.waker import Waker

ACCOUNT_GONE = "account_not_found"
"""What the publisher says of an account that was disconnected."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublishRules:
    """How failures are retried and how long moving posts are left alone."""

    policy: RetryPolicy
    patience: Patience


async def apply_publish_event(
    tx: Transaction, outbox: Outbox, waker: Waker, rules: PublishRules, event: contract.PublishEvent, envelope: Envelope
) -> None:
    """Change the post as the state machine says and emit the event of its new state.

    Harmless for repeated, late and reordered events. An event of a post that is not here is logged and dropped: it can only come
    from another database's past.
    """
    # Before the post, in the order of every other transaction that locks both: no deadlock, and no retry that a hold misses.
    account = await lock_account(tx.connection, event.account_id) if isinstance(event, contract.PublishFailed) else None
    post = await lock_post(tx.connection, event.post_id)
    if post is None:
        _log.warning("publish_event_of_unknown_post", post_id=str(event.post_id), kind=event.KEY)
        return
    report = report_of(event, envelope)
    if report.kind is Kind.CANCEL_CONFIRMED and post.given_up_attempt == report.attempt and post.cancel_at is None:
        # Nobody cancelled it: the scheduler itself had the attempt stopped, and its answer is still on the way.
        report = replace(report, kind=Kind.FAILED_FINAL, reason=GIVEN_UP)
    now = await database_now(tx.connection)
    change = judge(post, report, policy=rules.policy, patience=rules.patience, now=now, jitter=random.random())  # noqa: S311
    if not change.columns or _is_overtaken_by_truth(event):
        if report.attempt == post.attempt:
            await note_sequence(tx.connection, post, report.sequence)
        return
    columns = change.columns
    if change.state is PostState.RETRY_SCHEDULED and account is not None:
        columns |= _as_account_allows(account, now)
    if change.state is PostState.FAILED and _was_disconnected(post, change):
        columns |= {"status": PostState.CANCELLED.value}
    if columns.get("status") == PostState.CANCELLED.value and not _cancelled_by_user(post, change):
        columns |= ACCOUNT_DISCONNECTED.columns()
    changed = await change_post(tx.connection, post, columns)
    await _emit(tx, outbox, post, changed, change, envelope)
    waker.wake_for(tx, changed)


def _is_overtaken_by_truth(event: contract.PublishEvent) -> bool:
    """Whether an attempt was stopped because an earlier one is published: the news of that one are on their way, or here."""
    return isinstance(event, contract.PublishCancelled) and event.code == contract.EARLIER_ATTEMPT_PUBLISHED


def _as_account_allows(account: AccountCopy, now: datetime) -> dict[str, Any]:
    """Return what a retry becomes when its account is paused or expired (held) or was disconnected (cancelled)."""
    if account.deleted:
        return {"status": PostState.CANCELLED.value, "next_attempt_at": None, "ended_at": now}
    reason = account.hold_reason
    return {"held": reason is not None, "held_reason": reason}


def _was_disconnected(post: Post, change: Change) -> bool:
    """Whether an attempt that published nothing ends because its account was disconnected: such posts are cancelled, not failed."""
    return post.cancel_at is not None or change.columns.get("error_code") == ACCOUNT_GONE


def _cancelled_by_user(post: Post, change: Change) -> bool:
    """Whether the publisher was told to stop by the post's owner, not because its account was disconnected."""
    return change.state is PostState.CANCELLED and post.cancel_at is None


async def _emit(tx: Transaction, outbox: Outbox, old: Post, new: Post, change: Change, envelope: Envelope) -> None:
    if change.state is old.state and old.state is PostState.PUBLISHED:
        event = PostUpdated(
            post_id=new.id,
            account_id=new.account_id,
            status=new.status,
            attempt=new.attempt,
            scheduled_time=new.scheduled_time,
            changes={"tiktok_video_id": [old.tiktok_video_id, new.tiktok_video_id]},
        )
        await outbox.emit_all(tx, [wrap_event(outbox, new, event, envelope.context)])
        return
    reason = "cancelled_by_user" if _cancelled_by_user(old, change) else ACCOUNT_DISCONNECTED.code
    await emit_state(tx, outbox, new, envelope.context, reason=reason)


def report_of(event: contract.PublishEvent, envelope: Envelope) -> Report:
    """Return the domain's view of a publisher event; raises TypeError for a class it does not know."""
    base = Report(Kind.STARTED, event.attempt, envelope.sequence_number, envelope.time)
    match event:
        case contract.PublishStarted():
            return replace(base, at=event.started_at)
        case contract.PublishDeferred():
            return replace(base, kind=Kind.WAIT, reason=_reason(event), until=event.until)
        case contract.PublishSubmitted():
            sent = event.privacy_level
            return replace(base, kind=Kind.SUBMITTED, publish_id=event.publish_id, sent_privacy_level=sent)
        case contract.PublishSucceeded():
            kind = Kind.PUBLISHED if event.outcome == "published" else Kind.DELIVERED
            return replace(base, kind=kind, at=event.published_at, sent_privacy_level=event.privacy_level, **_ids(event))
        case contract.PublishIdentified():
            # Told again in answer to the sweep it is all there is to come.
            return replace(base, kind=Kind.PUBLISHED, success_follows=not event.again, **_ids(event))
        case contract.PublishFailed():
            failure = Failure(event.retryable, event.retry_after)
            return replace(base, kind=Kind.FAILED_FINAL, reason=_reason(event), failure=failure, publish_id=event.publish_id)
        case contract.PublishUnconfirmed():
            return replace(base, kind=Kind.LOST, reason=_reason(event), publish_id=event.publish_id)
        case contract.PublishCancelled():
            return replace(base, kind=Kind.CANCEL_CONFIRMED)
        case _:
            raise TypeError(f"no report for {type(event).__name__}")


def _ids(event: contract.PublishSucceeded | contract.PublishIdentified) -> dict[str, Any]:
    return {"publish_id": event.publish_id, "tiktok_video_id": event.tiktok_video_id, "video_url": event.video_url}


def _reason(event: contract.PublishDeferred | contract.PublishFailed | contract.PublishUnconfirmed) -> Reason:
    return Reason(event.code, event.message, event.hint)
