"""Open live streams: each user's events reach each of the user's streams, as long as it keeps up and may."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from uuid import UUID

from common.auth.claims import UserClaims
from common.clock import utc_now
from gateway.domain.closing import REVOKED, TOO_SLOW, UNKNOWN_RIGHTS, Closing
from gateway.domain.live_event import LastSeen, LiveEvent
from gateway.domain.server_sent import PIECE_BYTES
from gateway.metrics import LIVE_EVENTS, LIVE_STREAMS
from gateway.security.revocations import Revocation, RevokedSet

MAX_WAITING_EVENTS = 1_000
MAX_WAITING_BYTES = 1_000_000
"""What may wait for a slow reader; frames of one event are shared by all streams of its user."""
REMEMBERED = 256
"""Ids of events just sent: a repetition that can be seen is left out."""

OnClose = Callable[[Closing], None]


class Stream:
    """What waits for one client, and why its stream ends.

    While a replay is wanted or made, live events are kept back: a client that connects again goes on behind the last id it saw, so
    none may be shown before those that come earlier.
    """

    def __init__(
        self, claims: UserClaims, *, opened_at: datetime, seen: LastSeen | None, on_close: OnClose | None = None
    ) -> None:
        self.user_id = claims.user_id
        self.credential = claims.api_key_id or claims.session_id
        self.closing: Closing | None = None
        self.replay_since = None if seen is None else seen.made
        self.replay_behind = None if seen is None else seen.id
        self.overflowed = False
        self._opened_at = opened_at
        self._on_close = on_close
        self._replaying = False
        self._waiting: deque[LiveEvent] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()
        self._closed = asyncio.Event()
        self._sent: deque[str] = deque(maxlen=REMEMBERED)

    def put(self, event: LiveEvent) -> None:
        """Let an event wait; one too many ends the stream, or, while a replay is wanted, leaves it all to the replay."""
        if self.closing is not None:
            return
        if len(self._waiting) >= MAX_WAITING_EVENTS or self._bytes + len(event.frame) > MAX_WAITING_BYTES:
            if self._replaying or self.replay_since is not None:
                self.overflowed = True
                self._drop_waiting()
            else:
                self.close(TOO_SLOW)
            return
        self._waiting.append(event)
        self._bytes += len(event.frame)
        self._woken.set()

    def close(self, closing: Closing) -> None:
        """End it: what waits is not sent any more, the reason is."""
        if self.closing is None:
            self.closing = closing
            self._drop_waiting()
            self._woken.set()
            self._closed.set()
            if self._on_close is not None:
                self._on_close(closing)

    @property
    def is_closed(self) -> bool:
        """Whether it is to end."""
        return self._closed.is_set()

    async def wait_closed(self, seconds: float) -> None:
        """Wait so long, or until it is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    def missed_since(self, moment: datetime) -> None:
        """Note that events from `moment` on may not have come: they have to be read from the trail."""
        missed = max(moment, self._opened_at)
        self.replay_since = missed if self.replay_since is None else min(self.replay_since, missed)
        self._woken.set()

    @contextmanager
    def replay(self) -> Iterator[datetime]:
        """Replay for the block, since the moment given; one that is wanted meanwhile is another one, made next.

        `replay_behind` is the id of the last event that the client saw when it came, for the first replay alone.
        """
        assert self.replay_since is not None  # noqa: S101 - the caller looked
        since, self.replay_since, self._replaying = self.replay_since, None, True
        try:
            yield since
        finally:
            self._replaying = False
            self.replay_behind = None

    async def wait(self, seconds: float) -> bool:
        """Wait until something is to be done; False when nothing was for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[LiveEvent]:
        """Return the oldest of what waits, without what was just sent: together at most PIECE_BYTES, or one that is larger."""
        self._woken.clear()
        taken: list[LiveEvent] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0].frame) <= PIECE_BYTES):
            event = self._waiting.popleft()
            taken.append(event)
            size += len(event.frame)
        self._bytes -= size
        if self._waiting:
            self._woken.set()
        return self.fresh(taken)

    def fresh(self, events: list[LiveEvent]) -> list[LiveEvent]:
        """Return those that were not sent just before, and remember them as sent."""
        known = set(self._sent)
        unsent = {event.id: event for event in events if event.id not in known}
        self._sent.extend(unsent)
        return list(unsent.values())

    def _drop_waiting(self) -> None:
        self._waiting.clear()
        self._bytes = 0


class LiveStreams:
    """All open streams of this process."""

    def __init__(self, revoked: RevokedSet) -> None:
        self._by_user: defaultdict[UUID, set[Stream]] = defaultdict(set)
        self._revoked = revoked
        revoked.on_revoked(self._end_revoked)

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def __iter__(self) -> Iterator[Stream]:
        return iter([stream for streams in self._by_user.values() for stream in streams])

    @contextmanager
    def opened(self, claims: UserClaims, *, seen: LastSeen | None = None, on_close: OnClose | None = None) -> Iterator[Stream]:
        """Open a stream for the block, behind the last event `seen`; one whose session was revoked meanwhile ends at once.

        `on_close` is told why it ends, even while the client takes nothing.
        """
        stream = Stream(claims, opened_at=utc_now(), seen=seen, on_close=on_close)
        self._by_user[stream.user_id].add(stream)
        LIVE_STREAMS.inc()
        if stream.credential in self._revoked:
            stream.close(REVOKED)
        try:
            yield stream
        finally:
            LIVE_STREAMS.dec()
            mine = self._by_user[stream.user_id]
            mine.discard(stream)
            if not mine:
                del self._by_user[stream.user_id]

    def put(self, event: LiveEvent) -> None:
        """Give an event to the streams of its user."""
        for stream in self._by_user.get(event.user_id, ()):
            stream.put(event)
            LIVE_EVENTS.inc()

    def missed_since(self, moment: datetime) -> None:
        """Note for every stream that events from `moment` on may not have come."""
        for stream in self:
            stream.missed_since(moment)

    def end(self, closing: Closing) -> None:
        """End every stream."""
        for stream in self:
            stream.close(closing)

    def end_unless_known(self) -> None:
        """End every stream while it is not known what was revoked, as requests are refused then."""
        if not self._revoked.fresh:
            self.end(UNKNOWN_RIGHTS)

    def _end_revoked(self, revocation: Revocation) -> None:
        for stream in self:
            if stream.credential == str(revocation.id):
                stream.close(REVOKED)
