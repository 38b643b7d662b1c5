"""Tells of requests that were refused for want of a right, or because their session was revoked; now and then, however often."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from common.auth.claims import UserClaims
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.gateway import AccessRefused, SessionRefused
from gateway.clients.event_sender import EventNotSent, EventRefused, EventSender

SOURCE = "gateway"
REVOKED = "revoked"
TOLD_EVERY_S = 60.0
MAX_REMEMBERED = 10_000
MAX_WAITING = 1_000
"""While RabbitMQ is away so many wait; those that come then are not told of."""
MAX_AGE_S = 24 * 3600.0
"""What RabbitMQ did not take for so long is given up."""
MAX_FAILURES = 3
"""So often one is tried that fails for another reason than that RabbitMQ is away: it may be that it can never be sent."""
RETRY_S = 1.0
STOP_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Told:
    at: float
    times_since: int = 0


@dataclass(slots=True)
class _Waiting:
    event: Envelope
    since: float
    is_logged: bool = False
    failures: int = 0


class AccessRefusals:
    """A component that sends an event at most once a minute for each credential and right, or end; nobody waits for it."""

    def __init__(self, sender: EventSender, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sender = sender
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Send what is noted, from now on."""
        self._task = asyncio.create_task(self._run(), name="access-refusals")

    async def stop(self) -> None:
        """Send what waits, for a second at most, and end."""
        if self._task is None:
            return
        self._stopping.set()
        self._wake.set()
        await asyncio.wait({self._task}, timeout=STOP_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def healthy(self) -> str | None:
        """Return None, or why nothing is told of."""
        return "not running" if self._task is None or self._task.done() else None

    def note(self, claims: UserClaims, right: str, operation: str, context: Context) -> None:
        """Note that a caller was refused something for want of `right`; `operation` is what they wanted."""
        subject = claims.api_key_id or claims.session_id or str(claims.user_id)
        times = self._times_to_tell(subject, right)
        if times:
            said = {"api_key_id": claims.api_key_id, "user_id": claims.user_id, "right": right}
            refused = AccessRefused.model_validate({**said, "operation": operation, "times": times})
            self._tell(wrap(refused, service=SOURCE, subject=subject, context=context))

    def note_revoked(self, claims: UserClaims, operation: str, context: Context) -> None:
        """Note that a token of a revoked session was sent; `operation` is what was wanted with it."""
        subject = str(claims.session_id)
        times = self._times_to_tell(subject, REVOKED)
        if times:
            said = {"session_id": subject, "user_id": claims.user_id, "reason": REVOKED}
            refused = SessionRefused.model_validate({**said, "operation": operation, "times": times})
            self._tell(wrap(refused, service=SOURCE, subject=subject, context=context))

    def _times_to_tell(self, credential: str, right: str) -> int:
        """Count a refusal; returns how many there are to tell of now, 0 for none."""
        key, now = (credential, right), self._clock()
        told = self._told.get(key)
        if told is not None and now < told.at + TOLD_EVERY_S:
            told.times_since += 1
            return 0
        if len(self._waiting) >= MAX_WAITING:
            _log.warning("access_refusal_not_told", right=right)
            return 0
        self._told[key] = _Told(now)
        self._told.move_to_end(key)
        while len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        return 1 if told is None else told.times_since + 1

    def _tell(self, event: Envelope) -> None:
        self._waiting.append(_Waiting(event, self._clock()))
        self._wake.set()

    async def _run(self) -> None:
        while self._waiting or not self._stopping.is_set():
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._sender.send(self._waiting[0].event)
            except Exception as error:  # noqa: BLE001 - whatever it is, those behind it are told of all the same
                self._put_back(self._waiting.popleft(), error)
                if self._stopping.is_set():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RETRY_S)
            else:
                self._waiting.popleft()

    def _put_back(self, waiting: _Waiting, error: Exception) -> None:
        """Let one that could not be sent wait behind the others, which is logged once; give it up when that is of no use."""
        is_away = isinstance(error, EventNotSent) and not isinstance(error, EventRefused)
        waiting.failures += not is_away
        said = {"id": str(waiting.event.id), "reason": str(error) or type(error).__name__}
        if waiting.failures >= MAX_FAILURES or self._clock() > waiting.since + MAX_AGE_S:
            _log.error("access_refusal_given_up", **said, exc_info=None if isinstance(error, EventNotSent) else error)
            return
        if not waiting.is_logged:
            _log.warning("access_refusal_waits", **said)
            waiting.is_logged = True
        self._waiting.append(waiting)
