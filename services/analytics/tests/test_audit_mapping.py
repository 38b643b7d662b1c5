"""Which action an event is in the audit trail."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from analytics.domain.audit import Actor, actor_of, describe
from analytics.domain.event import Event
from common.contracts.registry import EVENTS
from common.ids import uuid7

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
OBJECT_TYPES = {"user", "session", "api_key", "account", "media", "post"}
# Without a user of their own: an operator's commands and what TikTok sends are in the trail, and in nobody's list.
NOBODYS_TYPES = {"system", "webhook"}


def event(key: str, data: dict[str, Any] | None = None, **more: Any) -> Event:
    return Event(id=uuid7(), key=key, source="/services/scheduler", subject="sub", time=NOW, data=data or {}, **more)


@pytest.mark.parametrize("key", sorted(EVENTS))
def test_every_event_of_the_contract_is_an_action_on_an_object_of_the_design(key: str) -> None:
    entry = describe(event(key))
    assert entry.object_type in OBJECT_TYPES | NOBODYS_TYPES
    assert entry.action.startswith(f"{entry.object_type}.")
    if key.startswith("publisher.publish."):
        assert entry.action.startswith("post.publish_")


@pytest.mark.parametrize(
    ("key", "data", "action", "object_id", "result", "reason"),
    [
        ("scheduler.post.scheduled.v1", {"post_id": "p"}, "post.scheduled", "p", "success", None),
        ("publisher.publish.started.v1", {"post_id": "p"}, "post.publish_started", "p", "success", None),
        ("publisher.publish.failed.v1", {"post_id": "p", "code": "c"}, "post.publish_failed", "p", "failure", "c"),
        ("publisher.publish.deferred.v1", {"post_id": "p", "code": "q"}, "post.publish_deferred", "p", "deferred", "q"),
        ("publisher.publish.unconfirmed.v1", {"code": "u"}, "post.publish_unconfirmed", "sub", "unknown", "u"),
        ("scheduler.post.held.v1", {"held": True, "reason": "r"}, "post.held", "sub", "deferred", "r"),
        ("scheduler.post.held.v1", {"held": False, "reason": "r"}, "post.resumed", "sub", "success", "r"),
        ("scheduler.post.published.v1", {"status": "sent_to_inbox"}, "post.sent_to_inbox", "sub", "success", None),
        ("scheduler.post.published.v1", {"status": "published"}, "post.published", "sub", "success", None),
        ("accounts.account.connected.v1", {"account_id": "a"}, "account.connected", "a", "success", None),
        ("accounts.user.password_changed.v1", {"user_id": "u"}, "user.password_changed", "u", "success", None),
        ("accounts.login.failed.v1", {"reason": "wrong_password"}, "session.login_failed", None, "failure", "wrong_password"),
        ("accounts.session.refresh_refused.v1", {"reason": "unknown"}, "session.refresh_refused", None, "failure", "unknown"),
        ("gateway.session.refused.v1", {"session_id": "s", "reason": "revoked"}, "session.refused", "s", "failure", "revoked"),
        ("accounts.session.revoked.v1", {"session_id": "s", "reason": "logout"}, "session.revoked", "s", "success", "logout"),
        (
            "scheduler.media.rejected.v1",
            {"problems": [{"code": "a"}, {"code": "b"}]},
            "media.rejected",
            "sub",
            "failure",
            "a, b",
        ),
        ("scheduler.media.rejected.v1", {"problems": ["odd", {}]}, "media.rejected", "sub", "failure", None),
        ("scheduler.post.scheduled.v2", {"post_id": "p"}, "post.scheduled", "p", "success", None),
        ("operator.action.v1", {"action": "dead_letters_replayed"}, "system.dead_letters_replayed", "sub", "success", None),
        ("billing.invoice.paid.v1", {"invoice_id": "i"}, "invoice.paid", "i", "success", None),
        ("billing.invoice.paid.twice.v1", {}, "invoice.paid_twice", "sub", "success", None),
        ("odd.v1", {}, "scheduler.odd", "sub", "success", None),
        ("scheduler.post.due.v1", {"post_id": 7, "code": 7}, "post.due", "sub", "success", None),
    ],
)
def test_what_an_event_is_in_the_trail(
    key: str, data: dict[str, Any], action: str, object_id: str | None, result: str, reason: str | None
) -> None:
    entry = describe(event(key, data))
    assert (entry.action, entry.object_id, entry.result, entry.reason) == (action, object_id, result, reason)
    assert entry.object_type == action.split(".", maxsplit=1)[0]


def test_changes_are_told_as_the_event_tells_them() -> None:
    changes = {"caption": ["old", "new"]}
    assert describe(event("scheduler.post.updated.v1", {"changes": changes})).changes == changes
    assert describe(event("scheduler.post.updated.v1", {"changes": {}})).changes is None
    assert describe(event("scheduler.post.updated.v1", {"changes": "odd"})).changes is None


def test_long_names_and_reasons_are_cut() -> None:
    entry = describe(event("scheduler.post.failed.v1", {"post_id": "p" * 999, "code": "c" * 999}))
    assert len(entry.object_id or "") == 200
    assert len(entry.reason or "") == 500


USER = UUID("0193a000-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("actor", "user_id", "expected"),
    [
        ("user:1", None, Actor("user", "1")),
        ("api_key:1:2", uuid4(), Actor("api_key", "1:2")),
        ("root", None, Actor("root", None)),
        (None, USER, Actor("user", str(USER))),
        (None, None, Actor("service", "scheduler")),
    ],
)
def test_who_did_it(actor: str | None, user_id: UUID | None, expected: Actor) -> None:
    assert actor_of(actor, user_id, "/services/scheduler") == expected
