"""Create a post: a draft, or one that is scheduled at once."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.contracts.envelope import Envelope
from common.contracts.scheduler import CreatePost
from common.database.database import Transaction
from common.errors import Problem
from common.ids import uuid7
from common.messaging.outbox import Outbox
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.caption import join_title
from scheduler.domain.finding import Finding
from scheduler.domain.media import Media, MediaStatus
from scheduler.domain.post import Post
from scheduler.domain.post_content import PostInput
from scheduler.domain.post_rules import check_media_options, check_post, check_supported, ignored_options
from scheduler.domain.schedule_time import DEFAULT_DEADLINE, check_publish_before, resolve_scheduled_time
from scheduler.storage.accounts import lock_account
from scheduler.storage.media import share_media
from scheduler.storage.posts import find_duplicate, insert_post, serialise_duplicates
from scheduler.usecases.post_events import emit_state
from scheduler.usecases.problems import account_not_found, media_not_found, problem_of
from scheduler.usecases.waker import Waker

_STORED_AS_GIVEN = {
    "caption",
    "hashtags",
    "mentions",
    "privacy_level",
    "media_id",
    "source_url",
    "photo_urls",
    "mode",
    "transfer",
    "disable_comment",
    "disable_duet",
    "disable_stitch",
    "brand_content_toggle",
    "brand_organic_toggle",
    "is_aigc",
    "cover_timestamp_ms",
    "timezone",
}


@dataclass(frozen=True, slots=True)
class CheckedPost:
    """A command that passed every check that needs no other object, with its instant (UTC, None for a timeless draft)."""

    scheduled_time: datetime | None
    warnings: tuple[Finding, ...] = ()
    account_id: UUID | None = None


def check_command(command: CreatePost, *, now: datetime, allowed_hosts: AbstractSet[str]) -> CheckedPost:
    """Check the command by itself, at its own time `now`; raises Problem 422 naming every broken rule.

    What cannot be published yet is `not_supported` and told alone: mending the rest of such a post leads nowhere.
    """
    findings: list[Finding] = []
    instant: datetime | None = None
    if command.scheduled_time is not None:
        resolved = resolve_scheduled_time(command.scheduled_time, command.timezone, now=now)
        if isinstance(resolved, Finding):
            findings.append(resolved)
        else:
            instant = resolved
    if command.publish_before is not None:
        findings += filter(None, [check_publish_before(command.publish_before, now=now)])
    post = _as_input(command, instant if command.scheduled_time is None or instant is not None else now)
    if unsupported := check_supported(post):
        raise problem_of(unsupported)
    findings += check_post(post, allowed_hosts=allowed_hosts)
    if findings:
        raise problem_of(findings)
    return CheckedPost(instant, tuple(ignored_options(post)))


async def create_post(
    tx: Transaction, outbox: Outbox, waker: Waker, command: CreatePost, checked: CheckedPost, envelope: Envelope
) -> Post:
    """Store the post and emit `PostScheduled` or `PostDrafted`.

    Raises Problem 404 (account, media), 409 `media_not_ready`, `duplicate_media`, 422. Guarantees: the same video for the same
    account is stored once however many creates run at the same time; an account that changes meanwhile holds the post.
    """
    user_id = owner(envelope)
    account = await _lock_owned_account(tx, checked.account_id, user_id)
    media = await _lock_ready_media(tx, command, user_id)
    if media is not None and account is not None and not command.draft and not command.allow_duplicate:
        await _refuse_duplicate(tx, account.id, media.sha256)
    values = _columns(command, checked, envelope, user_id, account, media)
    post = await insert_post(tx.connection, values)
    await emit_state(tx, outbox, post, envelope.context)
    waker.wake_for(tx, post)
    return post


def owner(envelope: Envelope) -> UUID:
    """Return the user a command is from; every command of this service has one. Raises Problem 401 otherwise."""
    if envelope.userid is None:
        raise Problem(401, "unauthorized", "The command names no user.")
    return envelope.userid


def _as_input(command: CreatePost, scheduled_time: datetime | None) -> PostInput:
    return PostInput(
        caption=command.caption,
        hashtags=tuple(command.hashtags),
        mentions=tuple(command.mentions),
        privacy_level=command.privacy_level,
        has_media=command.media_id is not None,
        source_url=command.source_url,
        photo_urls=tuple(command.photo_urls),
        mode=command.mode,
        transfer=command.transfer,
        brand_content_toggle=command.brand_content_toggle,
        cover_timestamp_ms=command.cover_timestamp_ms,
        scheduled_time=scheduled_time,
        publish_before=command.publish_before,
        draft=command.draft,
    )


async def _lock_owned_account(tx: Transaction, account_id: UUID | None, user_id: UUID) -> AccountCopy | None:
    if account_id is None:
        return None
    account = await lock_account(tx.connection, account_id)
    if account is None or account.deleted or account.user_id != user_id:
        raise account_not_found()
    return account


async def _lock_ready_media(tx: Transaction, command: CreatePost, user_id: UUID) -> Media | None:
    if command.media_id is None:
        return None
    media = await share_media(tx.connection, command.media_id, user_id)
    if media is None:
        raise media_not_found()
    if media.status == MediaStatus.PROCESSING:
        raise Problem(
            409,
            "media_not_ready",
            "The file is still being checked.",
            hint="Try again in a second.",
            headers={"Retry-After": "1"},
        )
    if media.status == MediaStatus.REJECTED:
        raise Problem(422, "media_rejected", "The file breaks TikTok's rules.", extra={"errors": media.problems})
    findings = check_media_options(cover_timestamp_ms=command.cover_timestamp_ms, duration_ms=media.duration_ms)
    if findings:
        raise problem_of(findings)
    return media


async def _refuse_duplicate(tx: Transaction, account_id: UUID, sha256: str) -> None:
    await serialise_duplicates(tx.connection, account_id, sha256)
    twin = await find_duplicate(tx.connection, account_id, sha256)
    if twin is not None:
        raise Problem(
            409,
            "duplicate_media",
            "A post of the last 24 hours has the same video for the same account.",
            hint="Send allow_duplicate: true if this is meant.",
            extra={"post_id": str(twin)},
        )


def _columns(
    command: CreatePost,
    checked: CheckedPost,
    envelope: Envelope,
    user_id: UUID,
    account: AccountCopy | None,
    media: Media | None,
) -> dict[str, Any]:
    instant = checked.scheduled_time
    reason = account.hold_reason if account is not None else None
    deadline = command.publish_before or (instant + DEFAULT_DEADLINE if instant is not None else None)
    given = command.model_dump(include=_STORED_AS_GIVEN)
    return {
        **given,
        "id": uuid7(),
        "user_id": user_id,
        "account_id": account.id if account is not None else None,
        "status": "draft" if command.draft else "scheduled",
        "held": reason is not None and not command.draft,
        "held_reason": None if command.draft else reason,
        "title": join_title(command.caption, command.hashtags, command.mentions),
        "media_sha256": media.sha256 if media is not None else None,
        "scheduled_time": instant,
        "publish_before": deadline,
        "next_attempt_at": None if command.draft else instant,
        "warnings": [warning_json(item) for item in checked.warnings],
        "correlation_id": envelope.correlationid,
    }


def warning_json(finding: Finding) -> dict[str, Any]:
    """Return a warning as it is shown on a post."""
    shown = {"field": finding.field, "code": finding.code, "message": finding.message, "hint": finding.hint}
    return {name: value for name, value in shown.items() if value is not None}
