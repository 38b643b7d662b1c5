"""What one live stream sends: the past where it was missed, then events as they come, and in the end why it ended."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from gateway.clients.event_log import EventLog, LogUnavailable
from gateway.domain.closing import Closing
from gateway.domain.live_event import LiveEvent
from gateway.domain.server_sent import HEARTBEAT, frame, pieces, retry, together
from gateway.usecases.live_streams import Stream
from gateway.usecases.trail_proof import Stored

OVERLAP = timedelta(seconds=10)
"""Repeated before the first moment that was missed: events do not come in the order of their times."""
SETTLE_S = 1.0
"""What was on its way to the queues when the stream was subscribed has got into that of analytics within this time."""
CATCH_UP_S = 30.0
"""If analytics is still behind when a stream has waited so long for it, the stream says `gap` and goes on."""
GAP = "gap"
CLOSED = "closed"

T = TypeVar("T")
Proof = Callable[[], Awaitable[Stored]]
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


class EventFollower:
    """Writes streams; `stored` tells what the trail holds of what was published before the call."""

    def __init__(self, log: EventLog, stored: Proof, pace: Pace) -> None:
        self._event_log = log
        self._stored = stored
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
        behind that moment. Passes join up, each goes on where the one before ended.
        """
        above, stored = 0, Stored.UNKNOWN
        with stream.replay() as since:
            try:
                while True:
                    stream.overflowed = False
                    read = self._event_log.pages(
                        stream.user_id, since=since - OVERLAP, behind=stream.replay_behind, above=above
                    )
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
                                break
                            above = page.upto
                            for piece in _in_pieces(stream, stream.fresh(page.events)):
                                yield piece
                            await waiting.look()
                    if stored is not Stored.UNKNOWN and not stream.overflowed:
                        break
                    proving = asyncio.ensure_future(self._proof())
                    async with aclosing(waiting.beats(proving)) as beats:
                        async for beat in beats:
                            yield beat
                    if stream.is_closed:
                        return
                    # What overflowed before that was proven may have been published too late to be in the next pass.
                    stored = _result(proving) if not stream.overflowed else Stored.UNKNOWN
            except LogUnavailable as error:
                stored = Stored.UNKNOWN
                _log.warning("live_replay_failed", reason=str(error))
            if stored is not Stored.ALL and not stream.is_closed:
                yield BEHIND

    async def _proof(self) -> Stored:
        await asyncio.sleep(SETTLE_S)
        return await self._stored()


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
