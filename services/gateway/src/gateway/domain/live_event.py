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
AHEAD = timedelta(minutes=1)
"""So far the clock of a service may be ahead; analytics goes back as much further where its trail lacks the last event."""
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


@dataclass(frozen=True, slots=True)
class LastSeen:
    """The last event that a client saw, and when it was made by the clock of the service that made it."""

    id: UUID
    made: datetime


def last_seen(event_id: str, *, now: datetime) -> LastSeen | None:
    """Return the event of this id; None when a stream cannot go on behind it: it is none, or one of no time that can be.

    RFC 9562: the first 48 bits of a UUIDv7 are the milliseconds of its time.
    """
    try:
        found = UUID(event_id)
    except ValueError:
        return None
    # Compared as numbers: 48 bits reach beyond the year 9999, where no datetime does.
    milliseconds = found.int >> 80
    is_near = (now - RESUMABLE).timestamp() <= milliseconds / 1000 <= (now + AHEAD).timestamp()
    if found.version != _V7 or not is_near:
        return None
    return LastSeen(found, datetime.fromtimestamp(milliseconds / 1000, UTC))
