"""Turns of one person's logins: a few are looked at at once, so that attempts under way are no reason to refuse one.

An attempt counts as failed until its password was found right. So many of them fit beside each other without a wait; more than half
as many are not begun by one replica, and what comes meanwhile waits for its turn.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from accounts.domain.throttle import ThrottleRule
from common.errors import Transient

WAITING_MAX = 64
"""As many as may wait for a password to be hashed."""
BUSY_RETRY_SECONDS = 2.0


@dataclass(slots=True)
class _Turns:
    places: asyncio.Semaphore
    present: int = 0


class LoginTurns:
    """Gives turns to the logins of each person; of who has none at the moment nothing is kept."""

    def __init__(self, rule: ThrottleRule) -> None:
        self._places = (rule.free + 1) // 2
        self._turns: dict[bytes, _Turns] = {}

    @asynccontextmanager
    async def of(self, person: bytes) -> AsyncIterator[None]:
        """Wait for a turn of the person with this hash, and hold it; raises Transient when `WAITING_MAX` wait already."""
        turns = self._turns.setdefault(person, _Turns(asyncio.Semaphore(self._places)))
        if turns.present >= self._places + WAITING_MAX:
            raise Transient("too many logins of one person wait", retry_after=BUSY_RETRY_SECONDS)
        turns.present += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.present -= 1
            if not turns.present:
                del self._turns[person]
