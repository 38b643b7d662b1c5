"""A post's timeline: its events as sentences, in the order things happened although they arrive in any order."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any
from uuid import UUID

from analytics.domain.durations import durations
from analytics.domain.event import Event
from analytics.domain.sentences import sentence

_NOT_DETAILS = frozenset({"again", "post_id", "user_id", "account_id", "job_id", "attempt", "replica", "message"})


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One thing that happened. `at` is when it did, by its sender's clock; `replica` is the process that did it.

    `details` hold what the sentence rests on, and `duration_ms` where a later event ended what this one began.
    """

    at: datetime
    type: str
    message: str
    attempt: int | None
    replica: str | None
    details: dict[str, Any]


def timeline(events: Iterable[Event]) -> list[TimelineItem]:
    """Return one item per event, oldest first."""
    ordered = in_order(events)
    lasted = durations(ordered)
    return [_item(event, lasted.get(event.id)) for event in ordered]


def in_order(events: Iterable[Event]) -> list[Event]:
    """Order events by time, but none before what it is known to have followed.

    Clocks of two machines differ, so times alone may lie. Two things are known all the same: an effect follows its cause, and what
    one source counted (`sequence`) happened in the order in which it was counted. Of the events that may come next, the one with
    the earliest time does: one whose clock is behind comes right after what it followed. Where causes contradict the rest (no
    real ones do), the earliest event goes on.
    """
    by_id = {str(event.id): event for event in events}
    open_before = _followed(by_id)
    followers: defaultdict[str, list[str]] = defaultdict(list)
    for later, earlier in open_before.items():
        for event_id in earlier:
            followers[event_id].append(later)
    by_time = sorted((_rank(event), event_id) for event_id, event in by_id.items())
    ready = [place for place in by_time if not open_before[place[1]]]
    ordered: dict[str, Event] = {}
    while len(ordered) < len(by_id):
        event_id = heappop(ready)[1] if ready else next(known for _, known in by_time if known not in ordered)
        if event_id in ordered:
            continue
        ordered[event_id] = by_id[event_id]
        for later in followers[event_id]:
            open_before[later].discard(event_id)
            if not open_before[later]:
                heappush(ready, (_rank(by_id[later]), later))
    return list(ordered.values())


def _rank(event: Event) -> tuple[datetime, str, int, UUID]:
    return event.time, event.source, event.sequence or 0, event.id


def _followed(by_id: dict[str, Event]) -> dict[str, set[str]]:
    """Return for each event which ones came just before it: its cause, and those that its source counted before it."""
    before = {event_id: {str(event.causation_id)} & by_id.keys() - {event_id} for event_id, event in by_id.items()}
    counted: defaultdict[tuple[str, str, float | None], defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for event_id, event in by_id.items():
        if event.sequence is not None:
            counted[_counter(event)][event.sequence].append(event_id)
    for steps in counted.values():
        for earlier, later in pairwise(sorted(steps)):
            for event_id in steps[later]:
                before[event_id].update(steps[earlier])
    return before


def _counter(event: Event) -> tuple[str, str, float | None]:
    """Return what counts an event's `sequence`: its source for its subject; the publisher counts in each attempt by itself."""
    return event.source, event.subject, event.number("attempt") if event.key.startswith("publisher.") else None


def _item(event: Event, duration_ms: int | None) -> TimelineItem:
    attempt = event.number("attempt")
    lasted = {} if duration_ms is None else {"duration_ms": duration_ms}
    return TimelineItem(
        at=event.time,
        type=event.family.partition(".")[2] or event.family,
        message=sentence(event),
        attempt=int(attempt) if attempt else None,
        replica=event.text("replica"),
        details=_details(event) | lasted,
    )


def _is_told(name: str, value: Any) -> bool:
    return name == "changes" or (name == "warnings" and bool(value))


def _details(event: Event) -> dict[str, Any]:
    """Return what the sentence rests on: plain values, what changed and warnings; nested content of the post is left out."""
    return {
        name: value
        for name, value in event.data.items()
        if name not in _NOT_DETAILS and value is not None and (_is_told(name, value) or isinstance(value, str | int | float))
    }
