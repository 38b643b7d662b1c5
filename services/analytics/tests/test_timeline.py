"""A post's events as sentences, in the order things happened."""

import random
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from analytics.domain.event import Event
from analytics.domain.timeline import in_order, timeline
from common.contracts.registry import EVENTS
from common.ids import uuid7

T0 = datetime(2026, 11, 21, 7, tzinfo=UTC)


def event(key: str, milliseconds: float = 0, **more: Any) -> Event:
    service = key.split(".", maxsplit=1)[0]
    values = {"source": f"/services/{service}", "subject": "p", "data": {}} | more
    return Event(id=uuid7(), key=f"{key}.v1", time=T0 + timedelta(milliseconds=milliseconds), **values)


def story() -> list[Event]:
    scheduled = event("scheduler.post.scheduled", 0, sequence=1)
    due = event("scheduler.post.due", 1000, sequence=2)
    started = event("publisher.publish.started", 1004, sequence=1, causation_id=str(due.id))
    submitted = event("publisher.publish.submitted", 1900, sequence=2, causation_id=str(due.id))
    succeeded = event("publisher.publish.succeeded", 1900, sequence=3, causation_id=str(due.id))
    published = event("scheduler.post.published", 1900, sequence=3, causation_id=str(succeeded.id))
    return [scheduled, due, started, submitted, succeeded, published]


def test_order_of_arrival_does_not_matter() -> None:
    expected = story()
    for seed in range(50):
        arrived = list(expected)
        random.Random(seed).shuffle(arrived)
        assert in_order(arrived) == expected


def test_at_the_same_time_the_source_counts() -> None:
    events = [event("publisher.publish.started", sequence=number) for number in (3, 1, 2)]
    assert [item.sequence for item in in_order(events)] == [1, 2, 3]


def test_an_effect_comes_after_its_cause_though_its_clock_is_behind() -> None:
    due = event("scheduler.post.due", 100)
    started = event("publisher.publish.started", 40, causation_id=str(due.id))
    submitted = event("publisher.publish.submitted", 60, causation_id=str(started.id))
    other = event("scheduler.post.updated", 50)
    assert in_order([submitted, started, due, other]) == [other, due, started, submitted]


def told_by_several_clocks(clocks: dict[str, float]) -> list[Event]:
    """Return a post's life in the order in which it happened, a second apart, timed by the replicas' clocks (seconds ahead)."""
    happened: list[Event] = []

    def tell(key: str, replica: str, sequence: int, cause: int | None = None, attempt: int = 1) -> None:
        milliseconds = (len(happened) + clocks[replica]) * 1000
        cause_id = None if cause is None else str(happened[cause].id)
        happened.append(event(key, milliseconds, sequence=sequence, causation_id=cause_id, data={"attempt": attempt}))

    tell("scheduler.post.drafted", "scheduler-1", 1)
    tell("scheduler.post.updated", "scheduler-2", 2)
    tell("scheduler.post.scheduled", "scheduler-1", 3)
    tell("scheduler.post.due", "scheduler-2", 4)
    tell("publisher.publish.started", "publisher-1", 1, cause=3)
    tell("publisher.publish.deferred", "publisher-2", 2, cause=3)
    tell("publisher.publish.failed", "publisher-1", 3, cause=3)
    tell("scheduler.post.retry_scheduled", "scheduler-1", 5, cause=6)
    tell("scheduler.post.due", "scheduler-2", 6)
    tell("publisher.publish.started", "publisher-2", 1, cause=8, attempt=2)
    tell("publisher.publish.submitted", "publisher-1", 2, cause=8, attempt=2)
    tell("publisher.publish.succeeded", "publisher-2", 3, cause=8, attempt=2)
    tell("scheduler.post.published", "scheduler-1", 7, cause=11)
    return happened


def test_clocks_that_differ_do_not_matter() -> None:
    """What one sender counts and what causes what is known for all of this story; and no two clocks agree."""
    for seed in range(200):
        chance = random.Random(seed)
        clocks = {f"{name}-{number}": chance.uniform(-60, 60) for name in ("scheduler", "publisher") for number in (1, 2)}
        happened = told_by_several_clocks(clocks)
        arrived = list(happened)
        chance.shuffle(arrived)
        assert in_order(arrived) == happened


def test_what_is_counted_later_comes_later_though_its_clock_is_behind() -> None:
    scheduled = event("scheduler.post.scheduled", 100, sequence=1)
    updated = event("scheduler.post.updated", 40, sequence=2)
    of_another = event("scheduler.post.updated", 60, sequence=3, subject="q")
    assert in_order([updated, of_another, scheduled]) == [of_another, scheduled, updated]


def test_attempts_are_counted_each_by_itself() -> None:
    """The publisher's count begins again: a second attempt does not come between the steps of the first."""
    first = [event("publisher.publish.started", number * 10, sequence=number, data={"attempt": 1}) for number in (1, 2, 3)]
    second = [event("publisher.publish.started", number * 10, sequence=number, data={"attempt": 2}) for number in (4, 5)]
    second = [Event(**{name: getattr(item, name) for name in Event.__slots__} | {"sequence": 1}) for item in second]
    assert in_order([*second, *first]) == [*first, *second]


def test_a_cause_that_contradicts_the_count_does_not_stop_the_rest() -> None:
    later = event("scheduler.post.updated", 10, sequence=2)
    sooner = event("scheduler.post.scheduled", 20, sequence=1, causation_id=str(later.id))
    after = event("scheduler.post.due", 0, sequence=3)
    orders = {tuple(item.id for item in in_order(arrived)) for arrived in permutations([sooner, after, later])}
    assert [sorted(order) for order in orders] == [sorted([sooner.id, after.id, later.id])]


def test_causes_in_a_ring_are_cut() -> None:
    one = event("scheduler.post.due", 0)
    two = event("scheduler.post.due", 1, causation_id=str(one.id))
    ring = Event(**{name: getattr(one, name) for name in Event.__slots__} | {"causation_id": str(two.id)})
    assert {item.id for item in in_order([ring, two])} == {one.id, two.id}


@pytest.mark.parametrize("key", sorted(key for key in EVENTS if ".post." in key or ".publish." in key))
def test_every_event_of_a_post_has_a_sentence_even_without_data(key: str) -> None:
    said = timeline([event(key.removesuffix(".v1"))])[0].message
    assert said.endswith(".")
    assert "was recorded" not in said
    assert "None" not in said


@pytest.mark.parametrize(
    ("key", "data", "message"),
    [
        (
            "scheduler.post.scheduled",
            {"scheduled_time": "2026-11-21T09:00:00+02:00"},
            "Scheduled for 2026-11-21 07:00:00 UTC.",
        ),
        ("scheduler.post.scheduled", {"scheduled_time": "soon"}, "Scheduled for soon."),
        ("scheduler.post.updated", {"changes": {"b": [1, 2], "a": [1, 2]}}, "Changed: a, b."),
        ("scheduler.post.held", {"held": True, "reason": "account_paused"}, "Waits for its account: account paused."),
        ("scheduler.post.held", {"held": False, "reason": "account_active"}, "Goes on: account active."),
        (
            "scheduler.post.due",
            {"due_at": "2026-11-21T07:00:00Z", "attempt": 2},
            "Its time has come (2026-11-21 07:00:00 UTC): attempt 2 was handed to the publisher.",
        ),
        (
            "scheduler.post.retry_scheduled",
            {"next_attempt_at": "2026-11-21T07:05:00Z", "message": "TikTok was busy."},
            "Will be tried again at 2026-11-21 07:05:00 UTC: TikTok was busy.",
        ),
        ("scheduler.post.retry_scheduled", {"by_owner": True, "message": "m"}, "Its owner wants another attempt."),
        (
            "scheduler.post.retry_scheduled",
            {"by_owner": True, "confirmed_not_published": True},
            "Its owner says that it was not published, and wants another attempt.",
        ),
        ("scheduler.post.published", {"by_owner": True, "tiktok_video_id": "73"}, "Its owner found it on TikTok as 73."),
        ("scheduler.post.failed", {"message": "Refused", "hint": "Shorten it."}, "Failed: Refused. Shorten it."),
        (
            "scheduler.post.published",
            {"status": "sent_to_inbox"},
            "Delivered to the creator's TikTok inbox, where the creator finishes the post.",
        ),
        (
            "publisher.publish.started",
            {"attempt": 1, "replica": "publisher-2", "lateness_ms": 12.4},
            "Attempt 1 started on publisher-2, 12 ms after its time.",
        ),
        (
            "publisher.publish.deferred",
            {"attempt": 1, "until": "2026-11-21T07:01:00Z", "message": "Six inits a minute are used up"},
            "Attempt 1 waits until 2026-11-21 07:01:00 UTC: Six inits a minute are used up.",
        ),
        (
            "publisher.publish.submitted",
            {"total_bytes": 70000000},
            "All 70,000,000 bytes are with TikTok, which now processes the post.",
        ),
        (
            "publisher.publish.succeeded",
            {"attempt": 1, "outcome": "published", "published_at": "2026-11-21T07:00:09Z"},
            "TikTok says that attempt 1 was published at 2026-11-21 07:00:09 UTC.",
        ),
        (
            "publisher.publish.succeeded",
            {"attempt": 1, "outcome": "sent_to_inbox"},
            "Attempt 1 was delivered to the creator's TikTok inbox.",
        ),
        (
            "publisher.publish.succeeded",
            {"attempt": 1, "outcome": "published", "published_at": "2026-11-21T07:00:09Z", "evidence": "webhook"},
            "A webhook of TikTok says that attempt 1 was published at 2026-11-21 07:00:09 UTC.",
        ),
        (
            "publisher.publish.succeeded",
            {"attempt": 1, "outcome": "published", "published_at": "2026-11-21T07:00:09Z", "evidence": "video_list"},
            "Attempt 1 was found among the creator's videos on TikTok, published at 2026-11-21 07:00:09 UTC.",
        ),
        (
            "publisher.publish.cancelled",
            {"attempt": 2, "code": "earlier_attempt_published"},
            "Attempt 2 was stopped: an earlier one is published.",
        ),
        ("publisher.publish.deferred", {"attempt": 1, "message": "Paused."}, "Attempt 1 waits: Paused."),
        ("publisher.publish.failed", {"attempt": 3, "code": "tiktok_spam"}, "Attempt 3 published nothing: tiktok spam."),
        ("scheduler.post.pinned", {}, "scheduler.post.pinned was recorded."),
    ],
)
def test_what_is_said(key: str, data: dict[str, Any], message: str) -> None:
    assert timeline([event(key, data=data)])[0].message == message


def test_an_item_says_who_and_what_without_the_post_s_content() -> None:
    data = {
        "post_id": "p",
        "attempt": 2,
        "replica": "publisher-1",
        "log_id": "L",
        "hint": None,
        "media": {"storage_key": "k"},
        "changes": {"caption": [1, 2]},
        "warnings": [],
    }
    item = timeline([event("publisher.publish.failed", data=data)])[0]
    assert (item.at, item.type, item.attempt, item.replica) == (T0, "publish.failed", 2, "publisher-1")
    assert item.details == {"log_id": "L", "changes": {"caption": [1, 2]}}
    warned = timeline([event("scheduler.post.scheduled", data={"warnings": [{"code": "missing_scope"}]})])[0]
    assert warned.details == {"warnings": [{"code": "missing_scope"}]}


@pytest.mark.parametrize("attempt", [0, "1", None, True])
def test_an_attempt_that_is_none_is_left_out(attempt: object) -> None:
    assert timeline([event("scheduler.post.scheduled", data={"attempt": attempt})])[0].attempt is None
