"""How long each phase of a post lasted, whatever the order of arrival."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics.domain.durations import durations
from analytics.domain.event import Event
from analytics.domain.timeline import timeline
from common.ids import uuid7

T0 = datetime(2026, 11, 21, 7, tzinfo=UTC)


def event(key: str, milliseconds: float, attempt: int = 1, **data: Any) -> Event:
    service = key.split(".", maxsplit=1)[0]
    time = T0 + timedelta(milliseconds=milliseconds)
    return Event(uuid7(), f"{key}.v1", f"/services/{service}", "p", time, data={"attempt": attempt, **data})


def lasted(events: list[Event]) -> list[int | None]:
    found = durations(events)
    return [found.get(one.id) for one in events]


def test_a_post_that_waited_and_was_tried_twice() -> None:
    events = [
        event("scheduler.post.scheduled", 0, 0),
        event("scheduler.post.held", 100, 0, held=True),
        event("scheduler.post.held", 5_100, 0, held=False),
        event("scheduler.post.due", 6_000),
        event("publisher.publish.started", 6_004.4),
        event("publisher.publish.deferred", 6_100),
        event("publisher.publish.submitted", 66_100),
        event("publisher.publish.failed", 70_100, log_id="L1"),
        event("scheduler.post.retry_scheduled", 70_101),
        event("scheduler.post.due", 130_101, 2),
        event("publisher.publish.started", 130_105, 2),
        event("publisher.publish.submitted", 131_105, 2),
        event("publisher.publish.succeeded", 139_105, 2, log_id="L2"),
        event("scheduler.post.published", 139_107, 2),
        event("publisher.publish.identified", 200_000, 2),
    ]
    assert lasted(events) == [
        *(None, 5_000, None, 4, 96, 60_000, 4_000, None),
        *(60_000, 4, 1_000, 8_000, None, None, None),
    ]
    arrived = list(events)
    random.Random(7).shuffle(arrived)
    items = timeline(arrived)
    assert [item.details.get("duration_ms") for item in items] == lasted(events)
    assert [item.details["log_id"] for item in items if "log_id" in item.details] == ["L1", "L2"]


@pytest.mark.parametrize(
    "key",
    ["scheduler.post.due", "publisher.publish.started", "publisher.publish.deferred", "publisher.publish.submitted"],
)
def test_what_is_under_way_has_no_duration_yet(key: str) -> None:
    assert lasted([event(key, 0), event("publisher.publish.failed", 10, 2), event("scheduler.post.updated", 20)]) == [None] * 3


def test_a_held_or_retried_post_that_is_cancelled_waited_until_then() -> None:
    for key in ("scheduler.post.held", "scheduler.post.retry_scheduled"):
        assert lasted([event(key, 0), event("scheduler.post.cancelled", 700)]) == [700, None]


def test_clocks_that_differ_make_nothing_shorter_than_no_time() -> None:
    due = event("scheduler.post.due", 10)
    started = replace(event("publisher.publish.started", 7), causation_id=str(due.id))
    items = timeline([started, due])
    assert [item.type for item in items] == ["post.due", "publish.started"]
    assert items[0].details["duration_ms"] == 0
