"""Sandbox mode: a post says beforehand that its creator alone will see it, and afterwards what really was sent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.ids import uuid7
from scheduler.domain.outcome import Change, Patience, Report, judge
from scheduler.domain.post import Post
from scheduler.domain.post_states import Kind
from scheduler.domain.retry import RetryPolicy
from scheduler.domain.sandbox import SANDBOX_MODE, check_sandbox, sandbox_warning, sent_warning, with_truth

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, Any] = dict.fromkeys(Post.__slots__)
OTHER = {"field": "title", "code": "other", "message": "Something else."}
EXPECTED = {"field": "privacy_level", "code": SANDBOX_MODE, "message": "Expected."}
POST = Post(
    **{
        **COLUMNS, "id": uuid7(), "user_id": uuid7(), "status": "publishing", "held": False, "attempt": 1, "retry_count": 0,
        "version": 2, "publish_before": NOW + timedelta(days=1), "publisher_sequence": 1, "created_at": NOW, "updated_at": NOW,
        "privacy_level": "PUBLIC_TO_EVERYONE", "warnings": [OTHER, EXPECTED], "photo_urls": [],
    }
)  # fmt: skip


def told(kind: Kind, sent: str | None, post: Post = POST) -> Change:
    report = Report(kind, 1, 2, NOW, sent_privacy_level=sent)
    return judge(post, report, policy=RetryPolicy(), patience=Patience(), now=NOW, jitter=0.0)


@pytest.mark.parametrize(
    ("level", "mode", "warned"),
    [
        ("PUBLIC_TO_EVERYONE", "direct", True),
        ("FOLLOWER_OF_CREATOR", "direct", True),
        ("SELF_ONLY", "direct", False),
        (None, "direct", False),
        (None, "inbox", False),
        ("PUBLIC_TO_EVERYONE", "inbox", False),
    ],
)
def test_what_would_go_out_otherwise_than_asked_says_so(level: str | None, mode: str, warned: bool) -> None:
    found = sandbox_warning(level, mode)
    assert (found is not None) is warned
    assert found is None or (found.field, found.code) == ("privacy_level", "sandbox_mode")
    wrong = check_sandbox(level, mode, is_branded=True)
    assert (wrong is not None) is warned
    assert wrong is None or (wrong.field, wrong.code) == ("privacy_level", "branded_content_must_be_public")
    assert check_sandbox(level, mode, is_branded=False) is None


@pytest.mark.parametrize("kind", [Kind.SUBMITTED, Kind.PUBLISHED])
def test_what_was_sent_counts_and_not_what_was_expected(kind: Kind) -> None:
    other, truth = told(kind, "SELF_ONLY").columns["warnings"]
    assert other == OTHER
    assert truth["code"] == SANDBOX_MODE
    assert "SELF_ONLY instead of PUBLIC_TO_EVERYONE" in truth["message"]


def test_a_publisher_that_is_not_in_sandbox_mode_takes_the_warning_back() -> None:
    assert told(Kind.PUBLISHED, "PUBLIC_TO_EVERYONE").columns["warnings"] == [OTHER]


def test_a_scheduler_that_knew_nothing_of_it_learns_it() -> None:
    unwarned = replace(POST, warnings=[])
    (warning,) = told(Kind.PUBLISHED, "SELF_ONLY", unwarned).columns["warnings"]
    assert warning["code"] == SANDBOX_MODE


def test_where_it_is_not_told_nothing_changes() -> None:
    assert "warnings" not in told(Kind.PUBLISHED, None).columns


def test_the_parts() -> None:
    assert sent_warning("SELF_ONLY", "SELF_ONLY") is None
    assert with_truth([EXPECTED, OTHER], None) == [OTHER]
