"""Turns of logins: of one person, and from one address, a few are looked at at once, so that attempts under way refuse none.

An attempt counts as failed until its password was found right. So many of them fit beside each other without a wait; more than half
as many are not begun by one replica, and what comes meanwhile waits for its turn.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from accounts.domain.throttle import ThrottleRule
from accounts.usecases.login import LoginAttempt, LoginLimits
from common.errors import Transient

WAITING_MAX = 64
"""As many as may wait for a password to be hashed."""
BUSY_RETRY_SECONDS = 2.0


@dataclass(slots=True)
class _Turns:
    places: asyncio.Semaphore
    present: int = 0


class _TurnsOfEach:
    """Gives turns to the attempts of each subject; of one that has none at the moment nothing is kept."""

    def __init__(self, rule: ThrottleRule) -> None:
        self._places = (rule.free + 1) // 2
        self._turns: dict[bytes, _Turns] = {}

    @asynccontextmanager
    async def of(self, subject: bytes) -> AsyncIterator[None]:
        turns = self._turns.setdefault(subject, _Turns(asyncio.Semaphore(self._places)))
        if turns.present >= self._places + WAITING_MAX:
            raise Transient("too many logins of one person, or from one address, wait", retry_after=BUSY_RETRY_SECONDS)
        turns.present += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.present -= 1
            if not turns.present:
                del self._turns[subject]


class LoginTurns:
    """Gives turns to logins."""

    def __init__(self, limits: LoginLimits) -> None:
        self._addresses = _TurnsOfEach(limits.address)
        self._people = _TurnsOfEach(limits.person)

    @asynccontextmanager
    async def of(self, attempt: LoginAttempt) -> AsyncIterator[None]:
        """Wait for a turn of the attempt's address and its person, and hold it; raises Transient when `WAITING_MAX` do."""
        async with AsyncExitStack() as held:
            # In this order: who waits for a person's turn keeps none of that person's from others.
            if attempt.address is not None:
                await held.enter_async_context(self._addresses.of(attempt.address))
            await held.enter_async_context(self._people.of(attempt.person))
            yield
