"""The plan of a post in each state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.ids import uuid7
from scheduler.domain.planning import plan
from scheduler.domain.post import Post

T = datetime(2026, 5, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, Any] = dict.fromkeys(Post.__slots__)
POST = Post(**{**COLUMNS, "id": uuid7(), "status": "scheduled", "created_at": T, "scheduled_time": T + timedelta(hours=1)})
DUE, STARTED, SUBMITTED, LIVE = (T + timedelta(hours=1, seconds=seconds) for seconds in range(4))


@pytest.mark.parametrize(
    ("changes", "statuses"),
    [
        ({"status": "draft", "scheduled_time": None}, "done pending pending pending pending pending"),
        ({}, "done active pending pending pending pending"),
        ({"status": "due", "due_at": DUE}, "done done active pending pending pending"),
        ({"status": "deferred", "due_at": DUE}, "done done done pending pending pending"),
        ({"status": "publishing", "due_at": DUE, "started_at": STARTED}, "done done done active pending pending"),
        (
            {"status": "processing", "due_at": DUE, "started_at": STARTED, "submitted_at": SUBMITTED},
            "done done done done active pending",
        ),
        (
            {"status": "published", "due_at": DUE, "started_at": STARTED, "submitted_at": SUBMITTED, "published_at": LIVE},
            "done done done done done done",
        ),
        (
            {"status": "sent_to_inbox", "due_at": DUE, "started_at": STARTED, "submitted_at": SUBMITTED, "ended_at": LIVE},
            "done done done done done pending",
        ),
        (
            {"status": "failed", "due_at": DUE, "started_at": STARTED, "ended_at": LIVE},
            "done done done failed skipped skipped",
        ),
        ({"status": "cancelled", "ended_at": LIVE}, "done skipped skipped skipped skipped skipped"),
        (
            {"status": "unconfirmed", "due_at": DUE, "started_at": STARTED, "submitted_at": SUBMITTED, "ended_at": LIVE},
            "done done done done failed skipped",
        ),
    ],
)
def test_statuses(changes: dict[str, Any], statuses: str) -> None:
    steps = plan(replace(POST, **changes))
    assert [step.step for step in steps] == ["created", "scheduled", "due", "upload", "processing", "published"]
    assert " ".join(step.status for step in steps) == statuses


@pytest.mark.parametrize(
    ("changes", "is_fetching", "statuses"),
    [
        ({"status": "scheduled"}, False, "done active pending pending pending pending pending"),
        ({"status": "publishing", "started_at": STARTED}, True, "done done done active pending pending pending"),
        ({"status": "publishing", "started_at": STARTED}, False, "done done done done active pending pending"),
        ({"status": "deferred", "started_at": STARTED}, True, "done done done active pending pending pending"),
        (
            {"status": "processing", "started_at": STARTED, "submitted_at": SUBMITTED},
            False,
            "done done done done done active pending",
        ),
        (
            {"status": "failed", "started_at": STARTED, "ended_at": LIVE, "error_code": "source_not_found"},
            False,
            "done done done failed skipped skipped skipped",
        ),
        (
            {"status": "failed", "started_at": STARTED, "ended_at": LIVE, "error_code": "tiktok_x"},
            False,
            "done done done done failed skipped skipped",
        ),
        ({"status": "failed", "ended_at": LIVE}, False, "done done failed skipped skipped skipped skipped"),
    ],
)
def test_a_video_at_an_address_is_fetched_first(changes: dict[str, Any], is_fetching: bool, statuses: str) -> None:
    post = replace(POST, source_url="https://a.example/v.mp4", transfer="upload", due_at=DUE, **changes)
    steps = plan(post, is_fetching=is_fetching)
    assert [step.step for step in steps] == ["created", "scheduled", "due", "fetch", "upload", "processing", "published"]
    assert " ".join(step.status for step in steps) == statuses
    assert "fetch" not in [step.step for step in plan(replace(post, transfer="pull"))]


def test_times_of_a_published_post() -> None:
    live = replace(POST, status="published", due_at=DUE, started_at=STARTED, submitted_at=SUBMITTED, published_at=LIVE)
    assert [(step.started_at, step.finished_at) for step in plan(live)] == [
        (T, T),
        (T, DUE),
        (DUE, STARTED),
        (STARTED, SUBMITTED),
        (SUBMITTED, LIVE),
        (LIVE, LIVE),
    ]
    later = T + timedelta(minutes=20)
    assert [step.started_at for step in plan(live, later)][:3] == [T, later, DUE], "saved as a draft before"
    assert plan(live, later)[0].finished_at == later
    assert plan(live, T - timedelta(milliseconds=3)) == plan(live), "by another clock"
