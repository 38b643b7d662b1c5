"""Sending one chunk of a file to TikTok's upload address."""

import logging
import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import httpx

from tiktok._http import send
from tiktok.errors import retry_after_of

CONTENT_TYPES: Final = frozenset({"video/mp4", "video/quicktime", "video/webm"})
CHUNK_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0, pool=5.0)
CHUNK_SECONDS: Final = 900.0

_CONTENT_RANGE = re.compile(r"bytes 0-(\d{1,19})/(\d{1,19})")


class ChunkOutcome(StrEnum):
    """What became of a chunk, named by what to do next."""

    STORED = "stored"
    """206: send the next one."""
    COMPLETE = "complete"
    """201: all bytes are there; follow the status."""
    REJECTED = "rejected"
    """400 and other 4xx: the request was wrong; repeating it is of no use."""
    EXPIRED = "expired"
    """403: the upload address is over; nothing was published and nothing will be."""
    UNKNOWN_UPLOAD = "unknown_upload"
    """404: TikTok has no such upload."""
    OUT_OF_STEP = "out_of_step"
    """416: TikTok has another number of bytes; ask for the status and go on from there."""
    UNCLEAR = "unclear"
    """Any other 2xx or 3xx: whether the chunk is stored is not said; ask for the status and go on from there."""
    UNAVAILABLE = "unavailable"
    """5xx, 408, 425 or 429: send the same chunk again."""


_OUTCOMES: Final = {
    201: ChunkOutcome.COMPLETE,
    206: ChunkOutcome.STORED,
    403: ChunkOutcome.EXPIRED,
    404: ChunkOutcome.UNKNOWN_UPLOAD,
    408: ChunkOutcome.UNAVAILABLE,
    416: ChunkOutcome.OUT_OF_STEP,
    425: ChunkOutcome.UNAVAILABLE,
    429: ChunkOutcome.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """TikTok's answer to a chunk.

    ``reported_end`` is the second number of its Content-Range header; whether that is a count of bytes or the last
    index is not documented, so use it for logs and ask ``status`` for the offset. ``retry_after`` in seconds, when
    TikTok named a wait.
    """

    outcome: ChunkOutcome
    http_status: int
    reported_end: int | None = None
    retry_after: float | None = None


class BodyLengthMismatch(ValueError):
    """The chunk's source gave another number of bytes than announced; the request was broken off."""


class _WithoutQuery(logging.Filter):
    """Takes the query off the addresses in httpx's own request log: it signs the upload."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                str(arg.copy_with(query=None)) if isinstance(arg, httpx.URL) and arg.query else arg for arg in record.args
            )
        return True


_WITHOUT_QUERY: Final = _WithoutQuery()
logging.getLogger("httpx").addFilter(_WITHOUT_QUERY)


async def put_chunk(
    http: httpx.AsyncClient,
    upload_url: str,
    first: int,
    last: int,
    total: int,
    body: AsyncIterable[bytes],
    content_type: str,
    *,
    seconds: float = CHUNK_SECONDS,
) -> ChunkResult:
    """Send bytes ``first`` to ``last`` of ``total`` and return what TikTok made of them.

    ``body`` is streamed and has to give exactly that many bytes, else BodyLengthMismatch; what it raises itself comes
    through as it is. Raises TikTokUnavailable without an answer; with ``sent`` true the chunk may have been stored.
    The address is used as it is and logged without its query.
    """
    if not 0 <= first <= last < total:
        raise ValueError(f"range {first}-{last} of {total}")
    if content_type not in CONTENT_TYPES:
        raise ValueError(f"TikTok takes {', '.join(sorted(CONTENT_TYPES))}, not {content_type}")
    source = _Counted(body, last - first + 1)
    try:
        response = await send(
            http,
            "PUT",
            upload_url,
            seconds=seconds,
            phases=CHUNK_TIMEOUT,
            headers={
                "Content-Type": content_type,
                "Content-Length": str(last - first + 1),
                "Content-Range": f"bytes {first}-{last}/{total}",
            },
            content=source,
        )
    except Exception:
        if source.failure is not None:
            raise source.failure from None
        raise
    return _result(response)


class _Counted:
    """Passes on a body once and stops the request when its length is not the announced one.

    ``failure`` is what went wrong at the source, which transports wrap in errors of their own.
    """

    def __init__(self, body: AsyncIterable[bytes], length: int) -> None:
        self._body = body
        self._length = length
        self._started = False
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._started:
            # A transport that repeats a PUT by itself on a stale connection: the first bytes are gone.
            raise ConnectionError("the connection broke while the chunk was being sent")
        try:
            async for piece in self._exactly():
                self._started = True
                yield piece
        except Exception as error:
            self.failure = error
            raise

    async def _exactly(self) -> AsyncIterator[bytes]:
        sent = 0
        async for piece in self._body:
            sent += len(piece)
            if sent > self._length:
                break
            yield piece
        if sent != self._length:
            raise BodyLengthMismatch(f"{sent} bytes or more given, {self._length} announced")


def _result(response: httpx.Response) -> ChunkResult:
    status = response.status_code
    default = ChunkOutcome.UNCLEAR if status < 400 else ChunkOutcome.REJECTED
    if status >= 500:
        default = ChunkOutcome.UNAVAILABLE
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    reported_end = int(match[1]) if match else None
    return ChunkResult(_OUTCOMES.get(status, default), status, reported_end, retry_after_of(response.headers))
