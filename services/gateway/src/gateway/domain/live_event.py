"""An event as the live stream shows it to the user whom it concerns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.domain.server_sent import frame

NOT_SHOWN = frozenset({"traceparent", "requesthash"})
"""Of the machine, not of the user; and not kept in the trail, so a resumed stream could not repeat it."""

RESUMABLE = timedelta(hours=24)
_V7 = 7


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event: whose it is, and the frame that is sent to each of the user's streams."""

    id: str
    user_id: UUID
    frame: bytes = field(repr=False)


def live_event(event: Mapping[str, Any]) -> LiveEvent | None:
    """Return a CloudEvent for the live stream; None when it concerns no user. Raises KeyError, TypeError, ValueError for others.

    The user is the envelope's, or the one whom the data name: a refused login has no user yet, but may concern one.
    """
    user = event.get("userid") or event["data"].get("user_id")
    if user is None:
        return None
    shown = {name: value for name, value in event.items() if name not in NOT_SHOWN}
    return LiveEvent(str(event["id"]), UUID(user), frame(event["type"], shown, event_id=str(event["id"])))


def time_of(event_id: str) -> datetime | None:
    """Return when an event with this id was made (RFC 9562: the first 48 bits of a UUIDv7 are milliseconds); None for others."""
    try:
        made = UUID(event_id)
    except ValueError:
        return None
    if made.version != _V7:
        return None
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)


def resumes_from(last_event_id: str, *, now: datetime) -> datetime | None:
    """Return since when events have to be repeated for a client whose last one this was; None when that cannot be."""
    made = time_of(last_event_id)
    return made if made is not None and now - RESUMABLE <= made <= now + timedelta(minutes=1) else None
