"""How long what an event began has lasted: the upload, TikTok's processing, a wait, the way to the publisher.

An event begins something that a later one ends; what is still under way has no duration yet. Times are those of the senders'
clocks, which may differ by milliseconds: nothing lasts less than no time.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from analytics.domain.event import Event

_MILLISECOND = timedelta(milliseconds=1)
_PUBLISH = "publisher.publish."
_OF_AN_ATTEMPT = frozenset({"scheduler.post.due", f"{_PUBLISH}started", f"{_PUBLISH}deferred", f"{_PUBLISH}submitted"})
"""Ended by the next that the publisher tells of the same attempt."""

_OF_THE_POST = frozenset({"scheduler.post.held", "scheduler.post.retry_scheduled"})
"""Ended by the next of the scheduler's that moves the post."""

_MOVES = frozenset(f"scheduler.post.{past}" for past in ("held", "due", "cancelled", "failed", "published", "unconfirmed"))


def durations(events: Sequence[Event]) -> dict[UUID, int]:
    """Return how many milliseconds each of these events' phases lasted, by the event's id; `events` are in order."""
    found: dict[UUID, int] = {}
    next_of_attempt: dict[float | None, Event] = {}
    next_move: Event | None = None
    for event in reversed(events):
        family, attempt = event.family, event.number("attempt")
        ending = None
        if family in _OF_AN_ATTEMPT:
            ending = next_of_attempt.get(attempt)
        elif family in _OF_THE_POST and event.data.get("held") is not False:
            ending = next_move
        if ending is not None:
            found[event.id] = max(0, round((ending.time - event.time) / _MILLISECOND))
        if family.startswith(_PUBLISH):
            next_of_attempt[attempt] = event
        if family in _MOVES:
            next_move = event
    return found
