"""Reading a creator's profile; reads are repeated, because repeating them is harmless."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from accounts.domain.profile import NAME_MAX, URL_MAX, Profile, clean_count, clean_text
from tiktok.display import UserClient, UserInfo
from tiktok.errors import TikTokUnavailable

TRIES = 3
TRY_SECONDS = 4.0


class ProfileReader:
    """Reads profiles with up to three tries; each waits for its turn first, so that all calls together stay in the quota."""

    def __init__(self, users: UserClient, turn: Callable[[], Awaitable[None]], *, first_wait_seconds: float = 0.2) -> None:
        self._users = users
        self._turn = turn
        self._first_wait = first_wait_seconds

    async def read(self, token: SecretStr, scopes: Iterable[str], *, open_id: str) -> Profile:
        """Return the profile of the token's creator, as far as the scopes show it.

        Raises a TikTokError: TikTokRateLimited also when the turn is too far off, TikTokUnavailable also when the answer is about
        another creator than `open_id`.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(TikTokUnavailable),
            wait=wait_exponential_jitter(multiplier=self._first_wait, max=2.0, jitter=self._first_wait),
            stop=stop_after_attempt(TRIES),
            reraise=True,
        ):
            with attempt:
                await self._turn()
                info = await self._once(token, scopes)
        if info.open_id != open_id:
            raise TikTokUnavailable("malformed_answer", sent=True, message="TikTok's answer is about another creator.")
        return _profile(info)

    async def _once(self, token: SecretStr, scopes: Iterable[str]) -> UserInfo:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                return await self._users.user_info(token, scopes)
        except TimeoutError as error:
            raise TikTokUnavailable("no_answer", sent=True) from error


def _profile(info: UserInfo) -> Profile:
    return Profile(
        open_id=info.open_id,
        union_id=clean_text(info.union_id, NAME_MAX),
        username=clean_text(info.username, NAME_MAX),
        display_name=clean_text(info.display_name, NAME_MAX),
        avatar_url=clean_text(info.avatar_url or info.avatar_url_100, URL_MAX),
        follower_count=clean_count(info.follower_count),
        following_count=clean_count(info.following_count),
        likes_count=clean_count(info.likes_count),
        video_count=clean_count(info.video_count),
    )
