"""What a stream hands over at once is small enough for a slow reader, and no event is cut in its middle."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from itertools import accumulate
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import pytest

from common.auth.claims import UserClaims
from common.clock import utc_now
from gateway.clients.event_log import LogPage
from gateway.domain.closing import REVOKED
from gateway.domain.live_event import LastSeen, LiveEvent
from gateway.domain.server_sent import PIECE_BYTES, frame, retry
from gateway.security.revocations import RevokedSet
from gateway.usecases import follow_events
from gateway.usecases.follow_events import EventFollower, Pace
from gateway.usecases.live_streams import LiveStreams
from gateway.usecases.trail_proof import ALL

KILOBYTES = [1, 50, 10, 30, 200, 64, 1, 1, *[50] * 6]
CLOSED = frame("closed", REVOKED.data)


class Log:
    """A trail of one page."""

    def __init__(self, events: list[LiveEvent]) -> None:
        self.events = events

    async def pages(self, user_id: UUID, *, since: datetime, above: int, behind: UUID | None) -> AsyncIterator[LogPage]:
        """Give the page."""
        del user_id, since, above, behind
        yield LogPage(self.events, len(self.events))


def made() -> list[LiveEvent]:
    ids = [str(uuid4()) for _ in KILOBYTES]
    return [
        LiveEvent(id_, uuid4(), frame("x", "y" * size * 1_000, event_id=id_)) for id_, size in zip(ids, KILOBYTES, strict=True)
    ]


@pytest.mark.parametrize("replayed", [False, True], ids=["live", "replayed"])
@pytest.mark.parametrize("close_after", [None, 0, 100_000], ids=["read", "closed at once", "closed in an event"])
async def test_a_burst_comes_in_pieces(replayed: bool, close_after: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader gets all of it, or, once the stream is closed, the rest of an event that has begun and the reason."""
    monkeypatch.setattr(follow_events, "SETTLE_S", 0.0)
    events = made()
    now = utc_now()
    claims = UserClaims(uuid4(), session_id=str(uuid4()), api_key_id=None, scopes=None, issued_at=now, expires_at=now)
    log: Any = Log(events if replayed else [])
    follower = EventFollower(
        log, AsyncMock(return_value=ALL), AsyncMock(return_value=False), Pace(heartbeat=300.0, recheck=300.0)
    )
    with LiveStreams(RevokedSet()).opened(claims, seen=LastSeen(uuid4(), now) if replayed else None) as stream:
        if not replayed:
            for event in events:
                stream.put(event)
        whole = b"".join(event.frame for event in events)
        got = b""
        async with aclosing(follower.follow(stream, AsyncMock(return_value=None))) as parts:
            assert await anext(parts) == retry()
            async for part in parts:
                assert len(part) <= PIECE_BYTES
                got += part
                if len(got) > (len(whole) - 1 if close_after is None else close_after):
                    stream.close(REVOKED)
    sent = got.removesuffix(CLOSED)
    assert got.endswith(CLOSED)
    assert whole.startswith(sent)
    assert len(sent) in accumulate(len(event.frame) for event in events)
    assert len(sent) == len(whole) if close_after is None else len(sent) < close_after + 250_000
