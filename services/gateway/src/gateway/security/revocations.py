"""The set of revoked sessions and API keys, and whether it can be trusted right now."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from common.clock import utc_now

STALE_AFTER_S = 5.0
"""Longer than this without broker and without accounts: what was revoked is not known, so nobody is let in."""
UNREAD_AT_MOST_S = 300.0
"""Longer than this without accounts, with or without broker, nobody is let in (decision 58)."""
API_KEY_MEMORY = timedelta(minutes=65)
"""Tokens that a key was exchanged for live 5 minutes, at most an hour by setting; after that accounts itself refuses the key."""
_PRUNE_FROM = 1024


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked session or API key; it need not be remembered after `forget_at`, when its tokens have expired."""

    kind: Literal["session", "api_key"]
    id: UUID
    forget_at: datetime


class RevokedSet:
    """What was revoked, as far as told; `fresh` says whether that is up to date.

    Fresh while events flow (connected, and read after connecting), else for 5 s after that was last proven, or after the last time
    it was read from accounts; in no case when it was last read more than `unread_at_most` seconds ago: that events could come does
    not say that accounts lives to send them.
    """

    def __init__(self, *, unread_at_most: float = UNREAD_AT_MOST_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._forget_at: dict[str, datetime] = {}
        self._unread_at_most = unread_at_most
        self._clock = clock
        self._live = False
        self._live_at = -math.inf
        self._read_at: float | None = None
        self._known_until = -math.inf
        self._listeners: list[Callable[[Revocation], None]] = []
        self._prune_at = _PRUNE_FROM

    def __contains__(self, revoked_id: str | None) -> bool:
        return revoked_id in self._forget_at

    def __len__(self) -> int:
        return len(self._forget_at)

    @property
    def fresh(self) -> bool:
        """Whether a session that is not in the set may be trusted not to be revoked."""
        if self.read_ago >= self._unread_at_most:
            return False
        return self._live or self._clock() < self._known_until

    @property
    def read_ago(self) -> float:
        """Seconds since what was revoked was last read from accounts; infinite before the first time."""
        return math.inf if self._read_at is None else self._clock() - self._read_at

    def on_revoked(self, listener: Callable[[Revocation], None]) -> None:
        """Call `listener` with each revocation that was not known before."""
        self._listeners.append(listener)

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Remember revocations; the same one again is no error."""
        for revocation in revocations:
            key = str(revocation.id)
            is_new = key not in self._forget_at
            self._forget_at[key] = revocation.forget_at
            for listener in self._listeners if is_new else ():
                listener(revocation)
            if len(self._forget_at) >= self._prune_at:
                self._prune()

    def mark_read(self) -> None:
        """Note that everything accounts knows was read just now."""
        self._read_at = self._clock()
        self._known_until = self._read_at + STALE_AFTER_S

    def mark_live(self, live: bool) -> None:
        """Note whether events arrive on a connection after which everything was read."""
        if live:
            self._live_at = self._clock()
        elif self._live:
            # From the last proof on: that nothing comes any more may be noticed seconds later.
            self._known_until = max(self._known_until, self._live_at + STALE_AFTER_S)
        self._live = live

    def _prune(self) -> None:
        now = utc_now()
        self._forget_at = {key: moment for key, moment in self._forget_at.items() if moment > now}
        # Twice as many as are left: going through all of them each time would take ever longer the more there are.
        self._prune_at = max(2 * len(self._forget_at), _PRUNE_FROM)
