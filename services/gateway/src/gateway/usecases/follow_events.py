"""What one live stream sends: the past where it was missed, then events as they come, and in the end why it ended."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

import structlog

from gateway.clients.event_log import EventLog, LogUnavailable
from gateway.domain.closing import Closing
from gateway.domain.server_sent import HEARTBEAT, frame, retry
from gateway.usecases.live_streams import Stream

OVERLAP = timedelta(seconds=10)
"""Repeated before the first moment that was missed: clocks differ, and events do not come in the order of their times."""
SETTLE_S = 1.0
"""What was on its way to the queues when the stream was subscribed has got into that of analytics within this time."""
CATCH_UP_S = 30.0
"""If analytics is still behind then, the stream says `gap` and goes on."""
GAP = "gap"
CLOSED = "closed"

Proof = Callable[[], Awaitable[bool]]
Recheck = Callable[[], Awaitable[Closing | None]]

_log = structlog.get_logger(__name__)


def gap(code: str, message: str) -> bytes:
    """Return the event that tells that some may be missing."""
    return frame(GAP, {"code": code, "message": message})


TOO_OLD = gap("last_event_too_old", "Events are kept for resuming for 24 hours, and this Last-Event-ID is none of them.")
BEHIND = gap("history_unavailable", "Events since the last one cannot be read at the moment; read the state by its own route.")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between heartbeats, and between looks at the token."""

    heartbeat: float
    recheck: float


class EventFollower:
    """Writes streams; `stored` tells whether what was published before the call is in the trail, False when that is not known."""

    def __init__(self, log: EventLog, stored: Proof, pace: Pace) -> None:
        self._event_log = log
        self._stored = stored
        self._pace = pace

    async def follow(self, stream: Stream, recheck: Recheck, *, unresumable: bool = False) -> AsyncGenerator[bytes]:
        """Yield what is to be sent, until the stream ends; the last event then is `closed`.

        `recheck` returns why the stream may not go on, None when it may.
        """
        yield retry()
        if unresumable:
            yield TOO_OLD
        loop = asyncio.get_running_loop()
        check_at = loop.time() + self._pace.recheck
        while stream.closing is None:
            if stream.replay_since is not None:
                async with aclosing(self._replay(stream)) as pieces:
                    async for piece in pieces:
                        yield piece
                continue
            events = stream.take()
            if events:
                yield b"".join(event.frame for event in events)
            elif not await stream.wait(min(self._pace.heartbeat, self._pace.recheck)):
                yield HEARTBEAT
            if loop.time() >= check_at:
                check_at = loop.time() + self._pace.recheck
                closing = await recheck()
                if closing is not None:
                    stream.close(closing)
        yield frame(CLOSED, stream.closing.data)

    async def _replay(self, stream: Stream) -> AsyncGenerator[bytes]:
        """Yield what the trail holds of what was missed; returns when that is all of it, after a `gap`, or when the stream closes.

        The stream is subscribed already. Once it is proven that what was published before is in the trail, the last pass is made
        behind that moment. Passes join up, each goes on where the one before ended.
        """
        give_up_at = asyncio.get_running_loop().time() + CATCH_UP_S
        above, complete = 0, False
        with stream.replay() as since:
            try:
                while True:
                    stream.overflowed = False
                    async with aclosing(self._event_log.pages(stream.user_id, since=since - OVERLAP, above=above)) as pages:
                        async for page in pages:
                            if stream.is_closed:
                                return
                            above = page.upto
                            yield b"".join(event.frame for event in stream.fresh(page.events))
                    if complete and not stream.overflowed:
                        return
                    if asyncio.get_running_loop().time() > give_up_at:
                        break
                    # What overflowed before that was proven may have been published too late to be in the next pass.
                    complete = await self._stored_all(stream) and not stream.overflowed
                    if stream.is_closed:
                        return
            except LogUnavailable as error:
                _log.warning("live_replay_failed", reason=str(error))
            if not stream.is_closed:
                yield BEHIND

    async def _stored_all(self, stream: Stream) -> bool:
        """Whether analytics has stored what was published before the stream was subscribed; False when that is not known.

        Returns at once when the stream is closed.
        """
        await stream.wait_closed(SETTLE_S)
        stored = asyncio.ensure_future(self._stored())
        closed = asyncio.ensure_future(stream.wait_closed(CATCH_UP_S))
        try:
            await asyncio.wait({stored, closed}, return_when=asyncio.FIRST_COMPLETED)
            return stored.done() and await stored
        finally:
            stored.cancel()
            closed.cancel()
