"""What an event means in the audit trail: which action on which object, how it ended, why, and what changed.

`action` is `<object_type>.<past>`. What the publisher does to a post is an action on that post. An event type that is not
known here is an action too, named after its key: the trail has no holes.
"""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from analytics.domain.event import Event, service_of

Result = Literal["success", "failure", "deferred", "unknown"]
MAX_NAME = 100
MAX_OBJECT_ID = 200
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An event's audit side. `changes` maps a field to its old and new value where the event tells them."""

    action: str
    object_type: str
    object_id: str | None
    result: Result
    reason: str | None
    changes: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a `user`, an `api_key`, a `service` or an `operator`."""

    type: str
    id: str | None


@dataclass(frozen=True, slots=True)
class _Rule:
    object_type: str
    past: str
    id_field: str
    result: Result = "success"


_RULES: dict[str, _Rule] = {
    "accounts.user.registered": _Rule("user", "registered", "user_id"),
    "accounts.user.password_changed": _Rule("user", "password_changed", "user_id"),
    "accounts.session.started": _Rule("session", "started", "session_id"),
    "accounts.session.revoked": _Rule("session", "revoked", "session_id"),
    "accounts.session.refresh_refused": _Rule("session", "refresh_refused", "session_id", "failure"),
    "accounts.login.failed": _Rule("session", "login_failed", "session_id", "failure"),
    "accounts.api_key.created": _Rule("api_key", "created", "api_key_id"),
    "accounts.api_key.used": _Rule("api_key", "used", "api_key_id"),
    "accounts.api_key.revoked": _Rule("api_key", "revoked", "api_key_id"),
    "accounts.api_key.refused": _Rule("api_key", "refused", "api_key_id", "failure"),
    "accounts.connect.failed": _Rule("account", "connect_failed", "account_id", "failure"),
    "accounts.sync.failed": _Rule("account", "sync_failed", "account_id", "failure"),
    "accounts.account.connected": _Rule("account", "connected", "account_id"),
    "accounts.account.updated": _Rule("account", "updated", "account_id"),
    "accounts.account.synced": _Rule("account", "synced", "account_id"),
    "accounts.account.expired": _Rule("account", "expired", "account_id", "failure"),
    "accounts.account.disconnected": _Rule("account", "disconnected", "account_id"),
    "scheduler.media.ready": _Rule("media", "ready", "media_id"),
    "scheduler.media.rejected": _Rule("media", "rejected", "media_id", "failure"),
    "scheduler.media.deleted": _Rule("media", "deleted", "media_id"),
    "scheduler.post.drafted": _Rule("post", "drafted", "post_id"),
    "scheduler.post.scheduled": _Rule("post", "scheduled", "post_id"),
    "scheduler.post.updated": _Rule("post", "updated", "post_id"),
    "scheduler.post.held": _Rule("post", "held", "post_id", "deferred"),
    "scheduler.post.cancelled": _Rule("post", "cancelled", "post_id"),
    "scheduler.post.due": _Rule("post", "due", "post_id"),
    "scheduler.post.retry_scheduled": _Rule("post", "retry_scheduled", "post_id", "deferred"),
    "scheduler.post.failed": _Rule("post", "failed", "post_id", "failure"),
    "scheduler.post.published": _Rule("post", "published", "post_id"),
    "scheduler.post.unconfirmed": _Rule("post", "unconfirmed", "post_id", "unknown"),
    "publisher.publish.started": _Rule("post", "publish_started", "post_id"),
    "publisher.publish.deferred": _Rule("post", "publish_deferred", "post_id", "deferred"),
    "publisher.publish.submitted": _Rule("post", "publish_submitted", "post_id"),
    "publisher.publish.succeeded": _Rule("post", "publish_succeeded", "post_id"),
    "publisher.publish.failed": _Rule("post", "publish_failed", "post_id", "failure"),
    "publisher.publish.unconfirmed": _Rule("post", "publish_unconfirmed", "post_id", "unknown"),
    "publisher.publish.cancelled": _Rule("post", "publish_cancelled", "post_id"),
    "publisher.publish.identified": _Rule("post", "publish_identified", "post_id"),
    "gateway.access.refused": _Rule("api_key", "access_refused", "api_key_id", "failure"),
    "gateway.session.refused": _Rule("session", "refused", "session_id", "failure"),
    "gateway.webhook.received": _Rule("webhook", "received", ""),
    "analytics.account_stats.collected": _Rule("account", "stats_collected", "account_id"),
}
_RESUMED = _Rule("post", "resumed", "post_id")
_SENT_TO_INBOX = _Rule("post", "sent_to_inbox", "post_id")
# The subject of these is no session, key or account: none was opened, known or connected.
_WITHOUT_SUBJECT = frozenset(
    f"accounts.{family}" for family in ("login.failed", "api_key.refused", "connect.failed", "session.refresh_refused")
)


def describe(event: Event) -> AuditEntry:
    """Return the audit side of any event; nothing in an event of unknown shape makes it raise."""
    rule = _rule(event)
    subject = None if event.family in _WITHOUT_SUBJECT else event.subject
    object_id = event.text(rule.id_field) or subject
    return AuditEntry(
        action=f"{rule.object_type}.{rule.past}",
        object_type=rule.object_type,
        object_id=object_id[:MAX_OBJECT_ID] if object_id else None,
        result=rule.result,
        reason=_reason(event),
        changes=_changes(event),
    )


def actor_of(actor: str | None, user_id: UUID | None, source: str) -> Actor:
    """Return who did it; an event that names no actor was done by its user, or else by the service at its source."""
    if actor:
        kind, separator, identifier = actor.partition(":")
        return Actor(kind, identifier if separator else None)
    if user_id is not None:
        return Actor("user", str(user_id))
    return Actor("service", service_of(source))


def _rule(event: Event) -> _Rule:
    if event.family == "scheduler.post.held" and event.data.get("held") is False:
        return _RESUMED
    if event.family == "scheduler.post.published" and event.text("status") == "sent_to_inbox":
        return _SENT_TO_INBOX
    if event.family == "operator.action":
        return _Rule("system", (event.text("action") or "operated")[:MAX_NAME], "")
    known = _RULES.get(event.family)
    if known is not None:
        return known
    parts = event.family.split(".")
    if len(parts) < 3:
        return _Rule(service_of(event.source)[:MAX_NAME] or "unknown", event.family[:MAX_NAME], "")
    return _Rule(parts[1][:MAX_NAME], "_".join(parts[2:])[:MAX_NAME], f"{parts[1]}_id")


def _reason(event: Event) -> str | None:
    reason = event.text("code", "reason", "right")
    problems = event.data.get("problems")
    if reason is None and isinstance(problems, list):
        codes = [problem["code"] for problem in problems if isinstance(problem, dict) and isinstance(problem.get("code"), str)]
        reason = ", ".join(codes) or None
    return reason[:MAX_REASON] if reason else None


def _changes(event: Event) -> dict[str, Any] | None:
    changes = event.data.get("changes")
    return changes if isinstance(changes, dict) and changes else None
