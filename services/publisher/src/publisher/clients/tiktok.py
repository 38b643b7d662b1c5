"""TikTok's posting API for one account: token, one refresh when it is refused, careful repeats."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from publisher.clients.accounts import Access, AccountsClient
from publisher.clients.breakers import PROBE_WAIT_SECONDS, BreakerOpen, Breakers, Endpoint, is_fault, pause_of
from publisher.clients.tiktok_troubles import not_sent_to, trouble_of
from publisher.errors import CallFailed, QuotaUsedUp
from tiktok.errors import TikTokError, TikTokRateLimited, TikTokRefused, TikTokUnavailable, TokenInvalid
from tiktok.models import CreatorInfo, FileSource, PostInfo, PublishStatus, PullInit, PullSource, VideoInit
from tiktok.photos import PhotoPost
from tiktok.posting import PostingClient
from tiktok.videos import Video, VideoClient, VideoPage

T = TypeVar("T")

TRIES = 3
FIRST_WAIT_SECONDS = 0.2
MAX_WAIT_SECONDS = 2.0
VIDEO_LIST = "video.list"
OK = 200
"""The scope that shows a creator's public videos."""
MATCHED_FIELDS = ("create_time", "title", "video_description", "duration")

BeforeSend = Callable[[], Awaitable[None]]
"""Called just before each request, repeats included. It takes what the request counts against (QuotaUsedUp), then checks the
lease: raises when nothing may be sent any more."""


class Tries(Protocol):
    """What surrounds the requests of an init."""

    async def before(self) -> None:
        """Do what `BeforeSend` does."""

    async def token_refused(self) -> None:
        """Take note, before a refused token is renewed, that the request had no effect; raises when none is to follow."""


class TikTok:
    """Posting calls with the account's token.

    Each raises `CallFailed`. A refused token is refreshed and the call repeated once: a refusal had no effect. Reads are
    repeated up to 3 times; an init only when nothing of it left this machine. While an endpoint's breaker is open, nothing is sent
    there, and the failure says when it may be again. After a call that got no answer, or one of a fault, an init that publishes by
    itself is sent only when its endpoint has answered a harmless one just before. Each request counts: QuotaUsedUp is raised when
    there was no room for the first one; a repeat without room is not made, and the failure before it stands.
    """

    def __init__(
        self, http: httpx.AsyncClient, once: httpx.AsyncClient, api_url: str, accounts: AccountsClient, breakers: Breakers
    ) -> None:
        """Keep the clients: `once` is for inits that publish by themselves, and uses no connection again."""
        self.http = http
        self.breakers = breakers
        self._posting = PostingClient(http, api_url)
        self._once = PostingClient(once, api_url)
        self._videos = VideoClient(http, api_url)
        self._accounts = accounts

    async def creator_info(self, account_id: UUID, access: Access, before_send: BeforeSend) -> CreatorInfo:
        """Return what the creator may post now."""
        return await self._call(
            Endpoint.CREATOR_INFO,
            account_id,
            access,
            lambda token: self._posting.creator_info(token.access_token),
            before_send,
            _is_unavailable,
        )

    async def init_video(
        self, account_id: UUID, access: Access, post: PostInfo, source: FileSource, tries: Tries
    ) -> VideoInit:
        """Start a direct post by upload; publishes nothing before the last byte is there."""
        return await self._call(
            Endpoint.VIDEO_INIT,
            account_id,
            access,
            lambda token: self._posting.init_video(token.access_token, post, source),
            tries.before,
            _not_sent,
            token_refused=tries.token_refused,
        )

    async def init_inbox(self, account_id: UUID, access: Access, source: FileSource, tries: Tries) -> VideoInit:
        """Start a draft by upload; delivers nothing before the last byte is there."""
        return await self._call(
            Endpoint.INBOX_INIT,
            account_id,
            access,
            lambda token: self._posting.init_inbox(token.access_token, source),
            tries.before,
            _not_sent,
            token_refused=tries.token_refused,
        )

    async def pull_video(self, account_id: UUID, access: Access, post: PostInfo, source: PullSource, tries: Tries) -> PullInit:
        """Let TikTok fetch and post a video. It is published by this call alone."""
        return await self._call(
            Endpoint.VIDEO_INIT,
            account_id,
            access,
            lambda token: self._once.init_video_pull(token.access_token, post, source),
            tries.before,
            _not_sent,
            token_refused=tries.token_refused,
            harmless=lambda token: self._posting.try_video_init(token.access_token, post),
        )

    async def pull_inbox(self, account_id: UUID, access: Access, source: PullSource, tries: Tries) -> PullInit:
        """Let TikTok fetch a video for a draft. It is delivered by this call alone."""
        return await self._call(
            Endpoint.INBOX_INIT,
            account_id,
            access,
            lambda token: self._once.init_inbox_pull(token.access_token, source),
            tries.before,
            _not_sent,
            token_refused=tries.token_refused,
            harmless=lambda token: self._posting.try_inbox_init(token.access_token),
        )

    async def init_photo(self, account_id: UUID, access: Access, post: PhotoPost, tries: Tries) -> PullInit:
        """Let TikTok fetch photos. They are published, or delivered as a draft, by this call alone."""
        return await self._call(
            Endpoint.CONTENT_INIT,
            account_id,
            access,
            lambda token: self._once.init_photo(token.access_token, post),
            tries.before,
            _not_sent,
            token_refused=tries.token_refused,
            harmless=lambda token: self._posting.try_photo_init(token.access_token, post),
        )

    async def cancel(self, account_id: UUID, publish_id: str, before_send: BeforeSend) -> None:
        """Ask TikTok to give up a fetch; it may be asked again without harm."""
        access = await self._accounts.access(account_id, cached=True, under_way=True)
        await self._call(
            Endpoint.CANCEL,
            account_id,
            access,
            lambda token: self._posting.cancel(token.access_token, publish_id),
            before_send,
            _is_unavailable,
            under_way=True,
        )

    async def status(self, account_id: UUID, publish_id: str, before_send: BeforeSend) -> PublishStatus:
        """Return what TikTok says of a publication."""
        access = await self._accounts.access(account_id, cached=True, under_way=True)
        return await self._call(
            Endpoint.STATUS,
            account_id,
            access,
            lambda token: self._posting.status(token.access_token, publish_id),
            before_send,
            _is_unavailable,
            under_way=True,
        )

    async def videos(self, account_id: UUID, cursor: int | None, before_send: BeforeSend) -> VideoPage | None:
        """Return a page of the creator's public videos posted before `cursor`; None when the grant does not show them."""
        access = await self._accounts.access(account_id, cached=True, under_way=True)
        if VIDEO_LIST not in access.scopes:
            return None
        return await self._call(
            Endpoint.VIDEOS,
            account_id,
            access,
            lambda token: self._videos.list_videos(token.access_token, cursor=cursor, fields=MATCHED_FIELDS),
            before_send,
            _is_unavailable,
            under_way=True,
        )

    async def query_videos(
        self, account_id: UUID, video_ids: Sequence[str], before_send: BeforeSend
    ) -> Sequence[Video] | None:
        """Return those of the videos that are the creator's and public; None when the grant does not show them."""
        access = await self._accounts.access(account_id, cached=True, under_way=True)
        if VIDEO_LIST not in access.scopes:
            return None
        if not video_ids:
            return ()
        return await self._call(
            Endpoint.VIDEOS,
            account_id,
            access,
            lambda token: self._videos.query_videos(token.access_token, video_ids, fields=MATCHED_FIELDS),
            before_send,
            _is_unavailable,
            under_way=True,
        )

    async def _call(
        self,
        endpoint: Endpoint,
        account_id: UUID,
        access: Access,
        send: Callable[[Access], Awaitable[T]],
        before_send: BeforeSend,
        may_repeat: Callable[[BaseException], bool],
        *,
        under_way: bool = False,
        token_refused: Callable[[], Awaitable[None]] | None = None,
        harmless: Callable[[Access], Awaitable[None]] | None = None,
    ) -> T:
        async def with_token(token: Access) -> T:
            make_sure = None if harmless is None else partial(self._make_sure, endpoint, partial(harmless, token), before_send)
            return await self._repeating(endpoint, lambda: send(token), before_send, may_repeat, make_sure)

        try:
            try:
                return await with_token(access)
            except TokenInvalid:
                if token_refused is not None:
                    await token_refused()
                renewed = await self._accounts.access(account_id, refused=access.access_token, under_way=under_way)
                return await with_token(renewed)
        except BreakerOpen as breaker:
            raise CallFailed(not_sent_to(breaker)) from None
        except TikTokError as error:
            raise CallFailed(trouble_of(error)) from error

    async def _repeating(
        self,
        endpoint: Endpoint,
        send: Callable[[], Awaitable[T]],
        before_send: BeforeSend,
        may_repeat: Callable[[BaseException], bool],
        make_sure: Callable[[], Awaitable[None]] | None,
    ) -> T:
        failed: TikTokUnavailable | None = None

        async def once() -> T:
            nonlocal failed
            if make_sure is not None and failed is None:
                # Not before a repeat: what it repeats never left this machine.
                await make_sure()
            await before_send()
            try:
                return await self.breakers.call(endpoint, send)
            except TikTokUnavailable as error:
                failed = error
                raise

        repeating = AsyncRetrying(
            retry=retry_if_exception(may_repeat),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=MAX_WAIT_SECONDS, jitter=FIRST_WAIT_SECONDS),
            reraise=True,
        )
        try:
            return await repeating(once)
        except QuotaUsedUp:
            if failed is None:
                raise
            # Told as a wait for the quota, a call that always fails would never count as one.
            raise failed from None

    async def _make_sure(self, endpoint: Endpoint, harmless: Callable[[], Awaitable[None]], before_send: BeforeSend) -> None:
        """Raise BreakerOpen unless the endpoint answers: its last call was answered, or a harmless one is now.

        Raises TikTokRateLimited when that was one too many: so would be the next.
        """
        if await self.breakers.is_well(endpoint):
            return
        await before_send()
        try:
            await self.breakers.call(endpoint, partial(_answered, harmless))
        except TikTokRateLimited:
            raise
        except TikTokError as error:
            if is_fault(error):
                raise BreakerOpen(pause_of(error) or PROBE_WAIT_SECONDS) from None
            # A refusal, as it should be: whatever is refused, the endpoint is there.


async def _answered(harmless: Callable[[], Awaitable[None]]) -> None:
    """Make a call that is meant to be refused. A code that is new, with status 200, is an answer, too: no other may ever come."""
    try:
        await harmless()
    except TikTokRefused as error:
        if error.failure.known or error.http_status != OK:
            raise


def _is_unavailable(error: BaseException) -> bool:
    """Whether it may pass within moments: not when TikTok named a wait."""
    return isinstance(error, TikTokUnavailable) and not error.retry_after


def _not_sent(error: BaseException) -> bool:
    return isinstance(error, TikTokUnavailable) and not error.sent
