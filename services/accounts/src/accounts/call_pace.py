"""Keeps calls to one TikTok endpoint within its quota, in all replicas together."""

import asyncio
from datetime import timedelta
from uuid import UUID

from accounts.clients.tiktok_problems import not_read_in_time
from accounts.storage.call_pace import book_call
from common.database import Database
from tiktok.errors import TikTokRateLimited

USER_INFO = "user_info"
BURST = 150
INTERVAL = timedelta(minutes=1) / 400
"""150 at once and 400 a minute after that are at most 550 in any minute. TikTok allows 600, it does not say whether per token."""
WAIT_MAX = timedelta(seconds=20)

USER_INFO_BATCHES = "user_info:batches"
BATCH_BURST = 50
BATCH_INTERVAL = timedelta(minutes=1) / 300
"""Of those, batches have 50 at once and 300 a minute: 100 at once and 100 a minute are left for connecting and single syncs."""
BATCH_WAIT_MAX = timedelta(minutes=1)
"""As long as a batch lasts."""

CREATOR_INFO_BURST = 4
CREATOR_INFO_INTERVAL = timedelta(seconds=30.5)
"""4 at once, 5 in any minute: of the 20 that TikTok allows for a token the publisher takes 15."""


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
        """Wait for this call's turn; raises TikTokRateLimited at once, nothing booked, when that takes more than `wait_max`."""
        async with self._database.read() as connection:
            ahead = await book_call(connection, self._endpoint, interval=self._interval, limit=self._burst + self._wait_max)
        if ahead is None:
            after = max(self._wait_max, self._interval)
            raise TikTokRateLimited("rate_limit_exceeded", retry_after=after.total_seconds())
        turn = (ahead - self._burst).total_seconds()
        if turn > 0:
            await asyncio.sleep(turn)


class BatchPace:
    """Keeps the calls of batches within their share of the pace, so that others always find turns."""

    def __init__(self, database: Database) -> None:
        self._share = CallPace(
            database, USER_INFO_BATCHES, burst=BATCH_BURST, interval=BATCH_INTERVAL, wait_max=BATCH_WAIT_MAX
        )
        self._all = CallPace(database, USER_INFO)

    async def wait(self) -> None:
        """Wait for the turn of a batch's call; raises Problem `not_read_in_time` at once when it is too far off."""
        try:
            await self._share.wait()
            await self._all.wait()
        except TikTokRateLimited as error:
            raise not_read_in_time() from error


class CreatorInfoPace:
    """Keeps the questions about each creator within this service's share; nobody waits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, account_id: UUID) -> None:
        """Take one question about an account's creator; raises TikTokRateLimited when there is none left."""
        pace = CallPace(
            self._database,
            f"creator_info:{account_id}",
            burst=CREATOR_INFO_BURST,
            interval=CREATOR_INFO_INTERVAL,
            wait_max=timedelta(0),
        )
        await pace.wait()
