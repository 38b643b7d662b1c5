"""One chunk: streamed from storage to TikTok, the lease checked between reads."""

from collections.abc import AsyncIterator
from functools import partial
from typing import cast
from urllib.parse import urlsplit

from tenacity import (
    AsyncRetrying,
    Future,
    RetryCallState,
    retry_if_exception,
    retry_if_result,
    stop_after_attempt,
    wait_exponential_jitter,
)

from publisher.clients.breakers import Endpoint
from publisher.clients.media_store import MediaMissing, MediaUnavailable
from publisher.errors import LeaseLost
from publisher.runner.run import JobRun
from tiktok.chunks import ChunkRange
from tiktok.errors import TikTokUnavailable
from tiktok.upload import CONTENT_TYPES, BodyLengthMismatch, ChunkOutcome, ChunkResult, put_chunk

TRIES = 3
FALLBACK_TYPE = "video/mp4"


class ChunkUnreadable(Exception):
    """The bytes of the chunk could not be read; `gone` when they never will be."""

    def __init__(self, *, gone: bool) -> None:
        super().__init__()
        self.gone = gone


class AddressUnreadable(Exception):
    """The upload address cannot be opened here, though it may be good: another service key sealed it."""


async def send_chunk(run: JobRun, chunk: ChunkRange) -> ChunkResult:
    """Send one chunk and return TikTok's answer.

    A 5xx or a connection that never came about repeats the same chunk, 3 tries in all, which is harmless. Raises
    TikTokUnavailable when the answer is lost (it may be stored), BreakerOpen before anything is sent, ChunkUnreadable when storage
    failed, AddressUnreadable, LeaseLost.
    """
    repeating = AsyncRetrying(
        retry=retry_if_result(_may_pass_soon) | retry_if_exception(_not_sent),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential_jitter(multiplier=0.2, max=2.0, jitter=0.2),
        retry_error_callback=_last_answer,
    )
    result: ChunkResult = await repeating(_put, run, chunk)
    return result


def _is_unavailable(result: ChunkResult) -> bool:
    return result.outcome is ChunkOutcome.UNAVAILABLE


def _wait_of_the_host(result: ChunkResult) -> float | None:
    """Return the wait that TikTok named with a fault; one with any other status is about this upload."""
    return result.retry_after if result.http_status >= 500 else None


def _may_pass_soon(result: ChunkResult) -> bool:
    """Whether it may pass within moments: not when TikTok named a wait."""
    return _is_unavailable(result) and not result.retry_after


def _last_answer(state: RetryCallState) -> ChunkResult:
    """Return the last answer after the last try, or raise its error."""
    result: ChunkResult = cast("Future", state.outcome).result()
    return result


def _not_sent(error: BaseException) -> bool:
    return isinstance(error, TikTokUnavailable) and not error.sent


async def _put(run: JobRun, chunk: ChunkRange) -> ChunkResult:
    media = run.job.media
    address = None if run.job.upload_url is None else run.tools.addresses.open(run.job.upload_url)
    if media is None or address is None:
        # A replica that still has the key the address was sealed by can send to it: that says nothing of TikTok's address.
        raise ChunkUnreadable(gone=True) if media is None else AddressUnreadable
    run.lease.check()
    content_type = media.content_type if media.content_type in CONTENT_TYPES else FALLBACK_TYPE
    send = partial(_stream, run, address, _Body(run, media.storage_key, chunk), chunk, content_type)
    host = urlsplit(address).netloc
    breakers = run.tools.tiktok.breakers
    return await breakers.call(Endpoint.UPLOAD, send, host=host, is_failure=_is_unavailable, named_wait=_wait_of_the_host)


async def _stream(run: JobRun, address: str, body: "_Body", chunk: ChunkRange, content_type: str) -> ChunkResult:
    total = run.job.checkpoint.total_bytes
    try:
        result = await put_chunk(run.tools.tiktok.http, address, chunk.first, chunk.last, total, body, content_type)
    except (BodyLengthMismatch, TikTokUnavailable, MediaMissing, MediaUnavailable) as error:
        run.unclear = run.unclear or body.is_out
        if isinstance(error, BodyLengthMismatch):
            raise ChunkUnreadable(gone=True) from None
        # The transport reports a body that broke off as a lost answer; what broke it off counts.
        if body.failure is not None:
            raise body.failure from None
        raise
    run.unclear = run.unclear or _is_unavailable(result)
    return result


class _Body:
    """The chunk's bytes; breaks off as soon as the lease is lost. `is_out` once all of them have been handed to the network."""

    def __init__(self, run: JobRun, key: str, chunk: ChunkRange) -> None:
        self._run = run
        self._key = key
        self._chunk = chunk
        self.failure: Exception | None = None
        self.is_out = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sent = 0
        try:
            async for piece in self._run.tools.media.read(self._key, self._chunk.first, self._chunk.last):
                await self._run.tools.bandwidth.take(len(piece))
                self._run.lease.check()
                self._run.tools.crash.reach(f"piece_checked:{self._chunk.index}")
                self._run.touched = True
                sent += len(piece)
                self.is_out = sent >= self._chunk.length
                yield piece
                self._run.lease.streamed = self._chunk.first + sent
                if sent * 2 >= self._chunk.length:
                    self._run.tools.crash.reach(f"mid_chunk:{self._chunk.index}")
        except LeaseLost as error:
            self.failure = error
            raise
        except (MediaMissing, MediaUnavailable) as error:
            self.failure = ChunkUnreadable(gone=isinstance(error, MediaMissing))
            raise
