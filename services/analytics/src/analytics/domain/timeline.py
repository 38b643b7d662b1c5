"""A post's timeline: its events as sentences, in the order things happened although they arrive in any order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
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
    """Order events by time, then by source and its sequence.

    An effect never comes before its cause: clocks of two machines differ, so an event whose cause is among the events counts
    as no earlier than that.
    """
    by_id = {str(event.id): event for event in events}
    placed: dict[str, tuple[datetime, int]] = {}
    for event_id in by_id:
        _place(event_id, by_id, placed)

    def rank(event: Event) -> tuple[datetime, int, str, int, UUID]:
        time, depth = placed[str(event.id)]
        return time, depth, event.source, event.sequence or 0, event.id

    return sorted(by_id.values(), key=rank)


def _place(event_id: str, by_id: dict[str, Event], placed: dict[str, tuple[datetime, int]]) -> None:
    """Find the event's effective time and its distance from its first known cause; causes that form a ring are cut."""
    chain: list[str] = []
    current: str | None = event_id
    while current in by_id and current not in placed and current not in chain:
        chain.append(current)
        current = by_id[current].causation_id
    cause = placed.get(current) if current is not None else None
    for link in reversed(chain):
        time = by_id[link].time
        placed[link] = (time, 0) if cause is None else (max(time, cause[0]), cause[1] + 1 if time <= cause[0] else 0)
        cause = placed[link]


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


def _details(event: Event) -> dict[str, Any]:
    """Return what the sentence rests on: plain values and what changed; nested content of the post is left out."""
    return {
        name: value
        for name, value in event.data.items()
        if name not in _NOT_DETAILS and value is not None and (name == "changes" or isinstance(value, str | int | float))
    }
