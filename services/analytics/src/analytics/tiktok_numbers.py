"""The numbers of accounts and videos, read at TikTok within its quotas."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

from analytics.call_pace import CallPace
from analytics.clients.accounts import Access, AccountsClient
from analytics.domain.account_copy import STATS_SCOPE, VIDEOS_SCOPE
from analytics.domain.look_failures import LookFailed, NoTurn, ScopeDenied
from analytics.domain.measures import AccountNumbers, PostNumbers
from tiktok.display import UserClient
from tiktok.errors import ScopeMissing, TikTokError, TikTokRateLimited, TikTokUnavailable, TokenInvalid
from tiktok.videos import VideoClient

T = TypeVar("T")

BASIC_SCOPE = "user.info.basic"
CALL_SECONDS = 12.0
LOOK_SECONDS = 40.0
"""For a whole look: a token, a turn and a call, and once more with a new token; shorter than a step of a loop may take."""


class TikTokNumbers:
    """Asks with the account's own token; each call waits for its turn first.

    Every look raises `NoTurn`, `MayNotLook` or `LookFailed`. A 429 holds the endpoint for all replicas. A component: when it
    stops, looks under way end with `NoTurn`, so that nobody waits for TikTok to be able to stop.
    """

    def __init__(
        self,
        accounts: AccountsClient,
        users: UserClient,
        videos: VideoClient,
        *,
        user_info_pace: CallPace,
        video_query_pace: CallPace,
    ) -> None:
        self._accounts = accounts
        self._users = users
        self._videos = videos
        self.user_info_pace = user_info_pace
        self.video_query_pace = video_query_pace
        self._under_way: set[asyncio.Timeout] = set()
        self._stopping = False

    async def start(self) -> None:
        """Begin to ask."""
        self._stopping = False

    async def stop(self) -> None:
        """Give up what is under way, and ask nothing more."""
        self._stopping = True
        for limit in self._under_way:
            limit.reschedule(asyncio.get_running_loop().time())

    async def of_account(self, account_id: UUID) -> AccountNumbers:
        """Return an account's numbers as TikTok shows them now."""
        info = await self._look(
            account_id,
            STATS_SCOPE,
            self.user_info_pace,
            lambda access: self._users.user_info(access.access_token, (BASIC_SCOPE, STATS_SCOPE)),
        )
        numbers = AccountNumbers.of([getattr(info, name) for name in AccountNumbers._fields])
        if numbers is None:
            raise LookFailed("malformed_answer")
        return numbers

    async def of_videos(self, account_id: UUID, video_ids: Sequence[str]) -> dict[str, PostNumbers]:
        """Return the numbers of those of up to 20 videos that TikTok shows, by id; private and deleted ones it leaves out.

        One whose numbers are not whole counts as left out, too.
        """
        videos = await self._look(
            account_id,
            VIDEOS_SCOPE,
            self.video_query_pace,
            lambda access: self._videos.query_videos(access.access_token, video_ids, fields=PostNumbers._fields),
        )
        told = {video.id: PostNumbers.of([getattr(video, name) for name in PostNumbers._fields]) for video in videos}
        return {video_id: numbers for video_id, numbers in told.items() if numbers is not None}

    async def _look(self, account_id: UUID, scope: str, pace: CallPace, call: Callable[[Access], Awaitable[T]]) -> T:
        try:
            async with self._limited():
                access = await self._accounts.access(account_id, scope=scope)
                try:
                    return await self._call(access, pace, call)
                except TokenInvalid:
                    access = await self._accounts.access(account_id, scope=scope, refused=access.access_token)
                    return await self._call(access, pace, call)
        except TimeoutError:
            raise NoTurn(0.0) if self._stopping else LookFailed("no_answer") from None
        except TikTokRateLimited as error:
            await pace.hold(error.retry_after)
            raise LookFailed(error.code, retry_after=error.retry_after) from error
        except ScopeMissing as error:
            raise ScopeDenied(error.code) from error
        except TikTokError as error:
            wait = error.retry_after if isinstance(error, TikTokUnavailable) else None
            raise LookFailed(error.code, retry_after=wait or 0.0) from error

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Raise TimeoutError when the block takes too long, or the service stops."""
        async with asyncio.timeout(0.0 if self._stopping else LOOK_SECONDS) as limit:
            self._under_way.add(limit)
            try:
                yield
            finally:
                self._under_way.discard(limit)

    async def _call(self, access: Access, pace: CallPace, call: Callable[[Access], Awaitable[T]]) -> T:
        await pace.wait()
        async with asyncio.timeout(CALL_SECONDS):
            return await call(access)
