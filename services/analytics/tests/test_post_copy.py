"""The copy of a post follows from which events were heard, not from their order or number."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.domain.event import Event
from analytics.domain.event_fields import copied_fields
from analytics.domain.post_copy import POST_KEYS, PostCopy, follow_post
from common.contracts.registry import EVENTS
from common.ids import uuid7

USER, ACCOUNT, POST = uuid4(), uuid4(), uuid7()
BEGIN = datetime(2026, 11, 21, 7, tzinfo=UTC)
SCHEDULED = BEGIN + timedelta(hours=1)
PUBLISHED = SCHEDULED + timedelta(seconds=9)


def event(key: str, sequence: int, *, minute: int = 0, **data: Any) -> Event:
    service = key.partition(".")[0]
    data = {"post_id": str(POST), "account_id": str(ACCOUNT), "attempt": 0} | data
    at = BEGIN + timedelta(minutes=minute)
    return Event(uuid7(), f"{key}.v1", f"/services/{service}", str(POST), at, USER, sequence=sequence, data=data)


def post(past: str, sequence: int, status: str, *, minute: int = 0, **data: Any) -> Event:
    data = {"status": status, "scheduled_time": SCHEDULED.isoformat()} | data
    return event(f"scheduler.post.{past}", sequence, minute=minute, **data)


def publish(past: str, sequence: int, *, attempt: int = 1, **data: Any) -> Event:
    return event(f"publisher.publish.{past}", sequence, minute=60, attempt=attempt, **data)


LIVE = [
    post("drafted", 1, "draft", scheduled_time=None),
    post("scheduled", 2, "scheduled", minute=1),
    post("updated", 3, "scheduled", minute=2, changes={"caption": ["a", "b"]}),
    post("due", 4, "due", minute=60, attempt=1),
    publish("started", 1, lateness_ms=12.5),
    publish("deferred", 2, code="tiktok_rate_limit_exceeded"),
    publish("submitted", 3),
    publish("succeeded", 4, published_at=PUBLISHED.isoformat(), tiktok_video_id=None),
    post("published", 5, "published", minute=61, attempt=1, published_at=PUBLISHED.isoformat(), tiktok_video_id=None),
    publish("identified", 5, tiktok_video_id="7300000000000000001"),
    post("updated", 6, "published", minute=62, attempt=1, changes={"tiktok_video_id": [None, "7300000000000000001"]}),
    post("updated", 7, "published", minute=90, attempt=1, changes={"deleted_at": [None, "2026-11-21T08:30:00Z"]}),
]
TRIED_AGAIN = [
    post("scheduled", 1, "scheduled"),
    post("held", 1, "scheduled", held=True, reason="account_paused"),
    post("due", 2, "due", attempt=1),
    publish("started", 1, lateness_ms=700.0),
    publish("failed", 2, code="tiktok_unavailable"),
    post("retry_scheduled", 3, "retry_scheduled", attempt=1, code="tiktok_unavailable"),
    post("due", 4, "due", attempt=2),
    publish("started", 3, attempt=2, lateness_ms=3.0),
    publish("failed", 4, attempt=2, code="spam_risk"),
    post("failed", 5, "failed", attempt=2, code="spam_risk"),
    post("updated", 6, "failed", attempt=2, changes={"deleted_at": [None, "2026-11-21T08:30:00Z"]}),
]
FOUND_LATER = [
    post("due", 2, "due", attempt=1),
    publish("started", 1, lateness_ms=1.0),
    publish("unconfirmed", 2, code="outcome_unknown"),
    post("unconfirmed", 3, "unconfirmed", attempt=1, code="outcome_unknown"),
    publish("succeeded", 3, published_at=PUBLISHED.isoformat(), tiktok_video_id="73"),
    post("published", 4, "published", attempt=1, published_at=PUBLISHED.isoformat(), tiktok_video_id="73"),
]
INBOX = [
    post("due", 2, "due", attempt=1),
    publish("started", 1, lateness_ms=1.0),
    publish("succeeded", 2, outcome="sent_to_inbox", published_at=PUBLISHED.isoformat()),
    post("published", 3, "sent_to_inbox", attempt=1, published_at=None),
]
TAKEN_BACK = [post("scheduled", 1, "scheduled"), post("cancelled", 2, "cancelled", reason="cancelled_by_user")]
UNDER_WAY = [publish("started", 1, attempt=2, lateness_ms=4), publish("deferred", 2, attempt=2), publish("submitted", 9)]
CORRECTED = [
    post("published", 2, "published", attempt=1, published_at=PUBLISHED.isoformat(), by_owner=True, tiktok_video_id="73"),
    post("updated", 3, "published", attempt=1, changes={"tiktok_video_id": ["73", "74"]}),
]
HISTORIES = [LIVE, TRIED_AGAIN, FOUND_LATER, INBOX, TAKEN_BACK, UNDER_WAY, CORRECTED]


def followed(events: list[Event]) -> PostCopy:
    copy: PostCopy | None = None
    for one in events:
        copy = follow_post(copy, one)
    assert copy is not None
    return copy


def test_what_copies_are_made_of_is_all_that_is_read() -> None:
    """What is long, as captions are, is left out of what is held in memory."""
    for history in HISTORIES:
        assert followed([replace(one, data=copied_fields(one.data)) for one in history]) == followed(history)
    assert copied_fields({"caption": "x" * 9, "status": "due", "changes": {"caption": ["a", "b"]}}) == {"status": "due"}
    assert copied_fields({"changes": 7}) == {}


@given(st.data())
def test_any_order_and_any_repeat_give_the_same_copy(data: st.DataObject) -> None:
    history = data.draw(st.sampled_from(HISTORIES))
    repeats = data.draw(st.lists(st.sampled_from(history), max_size=5))
    told = data.draw(st.permutations(history + repeats))
    assert followed(told) == followed(history)


def test_a_post_that_went_live() -> None:
    copy = followed(LIVE)
    assert (copy.state, copy.state_sequence, copy.attempt, copy.account_id) == ("published", 7, 1, ACCOUNT)
    assert (copy.published_at, copy.tiktok_video_id, copy.error_code) == (PUBLISHED, "7300000000000000001", None)
    assert (copy.heard_at, copy.scheduled_at, copy.placed_at) == (BEGIN, SCHEDULED, SCHEDULED)
    assert (copy.lateness_ms, copy.is_measurable) == (12.5, True)


def test_what_its_owner_told_gives_way_to_tiktoks_word() -> None:
    assert (followed(CORRECTED).tiktok_video_id, followed(CORRECTED).published_by_owner) == ("74", True)
    assert not followed(LIVE).published_by_owner


def test_how_far_an_attempt_is() -> None:
    seen = [(copy.state, copy.progress) for copy in (followed(LIVE[:number]) for number in (2, 4, 5, 6, 7))]
    assert seen == [
        ("scheduled", None),
        ("due", None),
        ("due", "publishing"),
        ("due", "deferred"),
        ("due", "processing"),
    ]
    assert followed(TRIED_AGAIN[:8]).progress_attempt == 2


def test_what_became_of_those_that_did_not() -> None:
    failed, found, inbox = followed(TRIED_AGAIN), followed(FOUND_LATER), followed(INBOX)
    assert (failed.state, failed.error_code, failed.lateness_ms, failed.published_at) == ("failed", "spam_risk", 700.0, None)
    assert followed(TRIED_AGAIN[:7]).error_code is None, "it is tried again"
    assert (followed(FOUND_LATER[:4]).error_code, found.error_code, found.is_measurable) == ("outcome_unknown", None, True)
    assert (inbox.state, inbox.published_at, inbox.is_measurable) == ("sent_to_inbox", None, False)
    assert followed(TAKEN_BACK).state == "cancelled"


def test_the_publisher_alone_tells_that_it_is_due() -> None:
    copy = followed(UNDER_WAY)
    assert (copy.state, copy.state_sequence, copy.attempt, copy.progress, copy.account_id) == (
        "due",
        0,
        2,
        "deferred",
        ACCOUNT,
    )


def test_a_post_without_a_time_stands_where_it_was_first_heard_of() -> None:
    copy = followed([post("updated", 2, "draft", minute=5, scheduled_time=None), LIVE[0]])
    assert (copy.placed_at, copy.state_sequence) == (BEGIN, 2)


@pytest.mark.parametrize(
    "odd",
    [
        event("scheduler.media.ready", 1),
        Event(uuid7(), "scheduler.post.due.v1", "/services/scheduler", "no id", BEGIN, USER, sequence=1),
        Event(uuid7(), "scheduler.post.due.v1", "/services/scheduler", str(POST), BEGIN, USER),
        Event(uuid7(), "scheduler.post.due.v1", "/services/scheduler", str(POST), BEGIN, sequence=1),
    ],
)
def test_what_is_no_news_of_a_post_makes_no_copy(odd: Event) -> None:
    assert follow_post(None, odd) is None


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, True, -1, 2**63, "9999-12-31T23:59:59Z", "2026-11-21T07:00:00"])
def test_fields_of_odd_shape_raise_nothing(odd: Any) -> None:
    names = ("status", "attempt", "account_id", "scheduled_time", "published_at", "tiktok_video_id", "code", "lateness_ms")
    copy: PostCopy | None = None
    for sequence, key in enumerate(POST_KEYS, start=1):
        data = dict.fromkeys(names, odd) | {"changes": {"tiktok_video_id": odd}}
        copy = follow_post(copy, Event(uuid7(), key, "/services/x", str(POST), BEGIN, USER, sequence=sequence, data=data))
    assert copy is not None
    assert isinstance(copy.account_id, UUID | None)
    assert copy.scheduled_at is None
    assert copy.published_at is None


def test_every_event_of_a_post_is_one_that_exists() -> None:
    assert set(POST_KEYS) == {key for key in EVENTS if key.startswith(("scheduler.post.", "publisher.publish."))}
