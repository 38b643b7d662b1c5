"""What a creator may post now: asked at TikTok with the account's token, remembered for a minute."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from accounts.access_tokens import AccessTokens
from accounts.clients.tiktok_problems import call_problem
from accounts.security.opaque import hex_digest
from common.clock import utc_now
from tiktok.errors import TikTokError, TikTokUnavailable, TokenInvalid
from tiktok.models import CreatorInfo
from tiktok.posting import PostingClient

TRIES = 2
TRY_SECONDS = 3.0
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class SeenCreatorInfo:
    """TikTok's answer and when it was given."""

    info: CreatorInfo
    fetched_at: datetime


class CreatorInfos:
    """Creator info per account; requests at the same time share one call, and each call takes one of the share by `take`."""

    def __init__(
        self,
        tokens: AccessTokens,
        posting: PostingClient,
        take: Callable[[UUID], Awaitable[None]],
        *,
        keep_seconds: float,
        first_wait_seconds: float = 0.2,
    ) -> None:
        self._tokens = tokens
        self._posting = posting
        self._take = take
        self._keep = keep_seconds
        self._first_wait = first_wait_seconds
        self._seen: OrderedDict[UUID, tuple[float, SeenCreatorInfo]] = OrderedDict()
        self._under_way: dict[UUID, asyncio.Task[SeenCreatorInfo]] = {}

    async def get(self, account_id: UUID) -> SeenCreatorInfo:
        """Return what the creator may post, at most a minute old; ownership is the caller's to check.

        Raises the Problems of `AccessTokens.get`; 502 `tiktok_unavailable`, 503 `tiktok_rate_limit_exceeded`, 409 `missing_scope`,
        and 409 `tiktok_<code>` when TikTok says that the creator cannot post now.
        """
        until, seen = self._seen.get(account_id, (0.0, None))
        if seen is not None and time.monotonic() < until:
            return seen
        task = self._under_way.get(account_id)
        if task is None:
            task = asyncio.create_task(self._ask(account_id), name=f"creator-info:{account_id}")
            self._under_way[account_id] = task
            task.add_done_callback(lambda done: self._done(account_id, done))
        return await asyncio.shield(task)

    def forget(self, account_id: UUID) -> None:
        """Ask anew next time: the grant has changed."""
        self._seen.pop(account_id, None)

    async def start(self) -> None:
        """Do nothing: TikTok is asked on demand."""

    async def stop(self) -> None:
        """End the calls under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, account_id: UUID, task: "asyncio.Task[SeenCreatorInfo]") -> None:
        self._under_way.pop(account_id, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._seen[account_id] = (time.monotonic() + self._keep, task.result())
        self._seen.move_to_end(account_id)
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)

    async def _ask(self, account_id: UUID) -> SeenCreatorInfo:
        try:
            token = (await self._tokens.get(account_id)).token
            try:
                info = await self._repeated(account_id, token)
            except TokenInvalid:
                fresh = await self._tokens.get(account_id, rejected_sha256=hex_digest(token))
                info = await self._repeated(account_id, fresh.token)
        except TikTokError as error:
            raise call_problem(error) from error
        return SeenCreatorInfo(info, utc_now())

    async def _repeated(self, account_id: UUID, token: SecretStr) -> CreatorInfo:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(TikTokUnavailable),
            wait=wait_exponential_jitter(multiplier=self._first_wait, max=1.0, jitter=self._first_wait),
            stop=stop_after_attempt(TRIES),
            reraise=True,
        ):
            with attempt:
                info = await self._once(account_id, token)
        return info

    async def _once(self, account_id: UUID, token: SecretStr) -> CreatorInfo:
        await self._take(account_id)
        try:
            async with asyncio.timeout(TRY_SECONDS):
                return await self._posting.creator_info(token)
        except TimeoutError as error:
            raise TikTokUnavailable("no_answer", sent=True) from error
