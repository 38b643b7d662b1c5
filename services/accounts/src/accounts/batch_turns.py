"""Which batches are read: a few at a time, a few of one user's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from common.errors import Problem

AT_WORK = 2
"""What so many read fits into a batch's minute."""
PER_USER = 2
RETRY_SECONDS = 30


class BatchTurns:
    """Gives turns to batches in the order they came, of each user to two at work or waiting in this process."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_WORK)
        self._in_hand: Counter[UUID] = Counter()

    @asynccontextmanager
    async def turn(self, user_id: UUID) -> AsyncIterator[None]:
        """Have a turn for the block, after waiting for it; raises Problem 429 `too_many_at_once`."""
        if self._in_hand[user_id] >= PER_USER:
            raise _too_many()
        self._in_hand[user_id] += 1
        try:
            async with self._turns:
                yield
        finally:
            self._in_hand[user_id] -= 1
            if not self._in_hand[user_id]:
                del self._in_hand[user_id]


def _too_many() -> Problem:
    return Problem(
        429,
        "too_many_at_once",
        "Two batches of yours are read or wait for it.",
        hint=f"Wait for one to end, or try again in {RETRY_SECONDS} seconds.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
