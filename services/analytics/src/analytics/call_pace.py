"""Keeps calls to one TikTok endpoint within its quota, in all replicas together."""

import asyncio
from datetime import timedelta

from analytics.domain.look_failures import NoTurn
from analytics.storage.call_pace import book_call, booked_ahead, hold_calls
from common.database import Database

WAIT_MAX = timedelta(seconds=10)
"""Who would wait longer stays due instead: the lease is for the call."""
LOOK_AGAIN_MAX = timedelta(seconds=30)


class CallPace:
    """Tells a caller when its call may leave: evenly, `per_minute` in each minute."""

    def __init__(self, database: Database, endpoint: str, *, per_minute: float, wait_max: timedelta = WAIT_MAX) -> None:
        self._database = database
        self._endpoint = endpoint
        self._interval = timedelta(minutes=1) / per_minute
        self._wait_max = wait_max

    async def wait(self) -> None:
        """Wait for this call's turn; raises `NoTurn` at once, nothing booked, when that would take more than ten seconds."""
        async with self._database.read_fast() as driver:
            ahead = await book_call(driver, self._endpoint, interval=self._interval, wait_max=self._wait_max)
        if ahead is None:
            raise NoTurn(self._wait_max.total_seconds())
        if ahead > timedelta(0):
            await asyncio.sleep(ahead.total_seconds())

    async def hold(self, seconds: float) -> None:
        """Let no call leave for so long: TikTok asked to wait."""
        async with self._database.read_fast() as driver:
            await hold_calls(driver, self._endpoint, timedelta(seconds=seconds))

    async def no_turn_for(self) -> float | None:
        """Return None when there may be a turn, else the seconds after which to look again."""
        async with self._database.read_fast() as driver:
            ahead = await booked_ahead(driver, self._endpoint)
        return None if ahead <= self._wait_max else min(ahead - self._wait_max, LOOK_AGAIN_MAX).total_seconds()
