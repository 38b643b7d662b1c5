"""Keeps calls to one TikTok endpoint within its quota, in all replicas together."""

import asyncio
from datetime import timedelta

from accounts.storage.call_pace import book_call
from common.database import Database
from tiktok.errors import TikTokRateLimited

USER_INFO = "user_info"
BURST = 150
INTERVAL = timedelta(minutes=1) / 400
"""150 at once and 400 a minute after that are at most 550 in any minute. TikTok allows 600, it does not say whether per token."""
WAIT_MAX = timedelta(seconds=20)


class CallPace:
    """Tells a caller when its call may leave."""

    def __init__(
        self,
        database: Database,
        endpoint: str,
        *,
        burst: int = BURST,
        interval: timedelta = INTERVAL,
        wait_max: timedelta = WAIT_MAX,
    ) -> None:
        self._database = database
        self._endpoint = endpoint
        self._burst = burst * interval
        self._interval = interval
        self._wait_max = wait_max

    async def wait(self) -> None:
        """Wait for this call's turn; raises TikTokRateLimited at once, nothing booked, when that would take more than 20 s."""
        async with self._database.read() as connection:
            ahead = await book_call(connection, self._endpoint, interval=self._interval, limit=self._burst + self._wait_max)
        if ahead is None:
            raise TikTokRateLimited("rate_limit_exceeded", retry_after=self._wait_max.total_seconds())
        turn = (ahead - self._burst).total_seconds()
        if turn > 0:
            await asyncio.sleep(turn)
