"""What one live stream sends: the past where it was missed, then events as they come, and in the end why it ended."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from gateway.clients.event_log import EventLog, LogUnavailable
from gateway.domain.closing import Closing
from gateway.domain.live_event import LiveEvent
from gateway.domain.server_sent import HEARTBEAT, frame, pieces, retry, together
from gateway.usecases.live_streams import Stream
from gateway.usecases.trail_proof import NOTHING

OVERLAP = timedelta(seconds=10)
"""Repeated before the first moment that was missed: events do not come in the order of their times."""
CLOCKS = timedelta(minutes=1)
"""How far the clock by which an event's id was made may be ahead of that of this gateway."""
SETTLE_S = 1.0
"""What was on its way to the queues when the stream was subscribed has got into that of analytics within this time."""
CATCH_UP_S = 30.0
"""If analytics is still behind when a stream has waited so long for it, the stream says `gap` and goes on."""
GAP = "gap"
CLOSED = "closed"

T = TypeVar("T")
Proof = Callable[[], Awaitable[datetime | None]]
Doubt = Callable[[], Awaitable[bool]]
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


class _Watch:
    """Looks at the token of a stream now and then, and closes the stream when it may not go on."""

    def __init__(self, stream: Stream, recheck: Recheck, every: float) -> None:
        self._stream = stream
        self._recheck = recheck
        self._every = every
        self._at = asyncio.get_running_loop().time() + every

    async def look(self) -> None:
        """Look, when it is time to."""
        now = asyncio.get_running_loop().time()
        if now < self._at:
            return
        self._at = now + self._every
        closing = await self._recheck()
        if closing is not None:
            self._stream.close(closing)


class _Waiting:
    """Waits for analytics on behalf of one stream: heartbeats go on, the token is looked at, and there is an end to it."""

    def __init__(self, stream: Stream, watch: _Watch, beat: float) -> None:
        self._stream = stream
        self._watch = watch
        self._beat = beat
        self._left = CATCH_UP_S

    async def look(self) -> None:
        """Look at the token, when it is time to."""
        await self._watch.look()

    async def beats(self, task: asyncio.Future[Any]) -> AsyncGenerator[bytes]:
        """Yield heartbeats until `task` is done; it is cancelled when the stream closes, or has waited for 30 s in all."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        ended = asyncio.ensure_future(self._stream.wait_closed(self._left))
        try:
            while not (await asyncio.wait({task, ended}, timeout=self._beat, return_when=asyncio.FIRST_COMPLETED))[0]:
                yield HEARTBEAT
                await self._watch.look()
        finally:
            self._left -= loop.time() - began
            task.cancel()
            ended.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)


@dataclass(slots=True)
class _Trail:
    """How far the trail was read, and whether the client was told that some of what it missed is not there."""

    read_upto: int = 0
    is_gap_told: bool = False

    def gap(self) -> Iterator[bytes]:
        """Yield the `gap`, once."""
        if not self.is_gap_told:
            self.is_gap_told = True
            yield BEHIND


class EventFollower:
    """Writes streams.

    `complete_since` tells what the trail holds of what was published before the call, `doubtful` whether that has to be known
    before anything of it is shown.
    """

    def __init__(self, log: EventLog, complete_since: Proof, doubtful: Doubt, pace: Pace) -> None:
        self._event_log = log
        self._complete_since = complete_since
        self._doubtful = doubtful
        self._pace = pace

    async def follow(self, stream: Stream, recheck: Recheck, *, unresumable: bool = False) -> AsyncGenerator[bytes]:
        """Yield what is to be sent, in pieces of at most PIECE_BYTES, until the stream ends; the last event then is `closed`.

        An event that has begun is sent to its end, else the client would take the reason for a part of it.
        `recheck` returns why the stream may not go on, None when it may.
        """
        yield retry()
        if unresumable:
            yield TOO_OLD
        watch = _Watch(stream, recheck, self._pace.recheck)
        beat = min(self._pace.heartbeat, self._pace.recheck)
        while stream.closing is None:
            if stream.replay_since is not None:
                async with aclosing(self._replay(stream, _Waiting(stream, watch, beat))) as pieces:
                    async for piece in pieces:
                        yield piece
                continue
            events = stream.take()
            if events:
                for piece in _in_pieces(stream, events):
                    yield piece
            elif not await stream.wait(beat):
                yield HEARTBEAT
            await watch.look()
        yield frame(CLOSED, stream.closing.data)

    async def _replay(self, stream: Stream, waiting: _Waiting) -> AsyncGenerator[bytes]:
        """Yield what the trail holds of what was missed; returns when that is all of it, after a `gap`, or when the stream closes.

        The stream is subscribed already. Once it is proven that what was published before is in the trail, the last pass is made
        behind that moment. Passes join up, each goes on where the one before ended. A `gap` comes before events that were made
        since: a client that got those, and not the gap, would go on behind both.
        """
        trail, prove = _Trail(), self._first_proof
        with stream.replay() as since:
            try:
                while True:
                    # What overflows while it is proven may be published too late to be in the next pass.
                    stream.overflowed = False
                    proving = asyncio.ensure_future(prove())
                    async with aclosing(waiting.beats(proving)) as beats:
                        async for beat in beats:
                            yield beat
                    if stream.is_closed:
                        return
                    complete_since, prove = _result(proving), self._proof
                    if complete_since is not None and complete_since > since - OVERLAP - CLOCKS:
                        for piece in trail.gap():
                            yield piece
                    async with aclosing(self._pass(stream, waiting, since - OVERLAP, trail)) as pieces:
                        async for piece in pieces:
                            yield piece
                    if complete_since is not None and not stream.overflowed:
                        return
            except LogUnavailable as error:
                _log.warning("live_replay_failed", reason=str(error))
                if not stream.is_closed:
                    for piece in trail.gap():
                        yield piece

    async def _pass(self, stream: Stream, waiting: _Waiting, since: datetime, trail: _Trail) -> AsyncGenerator[bytes]:
        """Yield what was recorded since and was not read before; ends early when the stream closes. Raises LogUnavailable."""
        read = self._event_log.pages(stream.user_id, since=since, behind=stream.replay_behind, above=trail.read_upto)
        async with aclosing(read) as pages:
            while True:
                reading = asyncio.ensure_future(anext(pages, None))
                async with aclosing(waiting.beats(reading)) as beats:
                    async for beat in beats:
                        yield beat
                if stream.is_closed:
                    return
                page = _result(reading)
                if page is None:
                    return
                trail.read_upto = page.upto
                if page.left_out:
                    for piece in trail.gap():
                        yield piece
                for piece in _in_pieces(stream, stream.fresh(page.events)):
                    yield piece
                await waiting.look()

    async def _first_proof(self) -> datetime | None:
        """Return what `_proof` does where it must be known first; else None, and it is asked for after the first pass."""
        if not await self._doubtful():
            return None
        return await self._proof() or NOTHING

    async def _proof(self) -> datetime | None:
        await asyncio.sleep(SETTLE_S)
        return await self._complete_since()


def _in_pieces(stream: Stream, events: list[LiveEvent]) -> Iterator[bytes]:
    """Yield events as pieces; once the stream is closed the rest of one that has begun, and no more."""
    for whole in together(event.frame for event in events):
        yield from pieces(whole)
        if stream.is_closed:
            return


def _result(task: asyncio.Future[T]) -> T:
    """Return what the task returned; raises LogUnavailable when it was not waited for any longer."""
    if task.cancelled():
        raise LogUnavailable("analytics is behind")
    return task.result()
