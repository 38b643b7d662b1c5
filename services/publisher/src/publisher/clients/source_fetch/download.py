"""A file's bytes from its address, in order and only once, however often the connection breaks."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from common.clock import utc_now
from publisher.clients.source_fetch.opening import Answer, SourceOpener
from publisher.domain import source_troubles
from publisher.domain.containers import HEAD_BYTES, container_of, looks_like_text
from publisher.domain.resuming import OK, Continuation, Version, continuation, version_of
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.errors import CallFailed

MAX_BREAKS = 5
"""Broken connections in a row that brought nothing."""
BREAK_WAITS_SECONDS = (0.2, 1.0, 2.0, 4.0, 8.0)
PIECE_BYTES = 256 * 1024
SPEED_AFTER_SECONDS = 30.0
"""A connection's speed is judged once it is so old."""


class StartOver(Exception):
    """The bytes so far are of no use: the file has changed, or its server cannot go on in the middle."""


class _Broken(Exception):
    """The connection ended before the file did; asking for the rest may help."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Sizes in bytes: the largest file, the slowest connection per second."""

    max_bytes: int
    min_bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Whoever looks on; what it raises ends the download.

    `before_send` is called before each request, `begun` once a video is coming, with its size where that was announced, `received`
    with the number of bytes so far after each piece.
    """

    before_send: Callable[[], None]
    begun: Callable[[int | None], Awaitable[None]]
    received: Callable[[int], None]


class Download:
    """One pass over a file. `size`, `sha256` and `content_type` hold once `blocks` has ended by itself; `host` answered last."""

    def __init__(self, opener: SourceOpener, url: str, limits: DownloadLimits, watch: Watch) -> None:
        self._opener = opener
        self._url = url
        self._limits = limits
        self._watch = watch
        self._digest = hashlib.sha256()
        self._version: Version | None = None
        self.host = ""
        self.size = 0
        self.content_type = ""

    @property
    def sha256(self) -> str:
        """The hash of all bytes given so far, in hex."""
        return self._digest.hexdigest()

    async def blocks(self) -> AsyncGenerator[bytes]:
        """Yield the file's bytes in pieces.

        Raises StartOver when it has to begin anew, CallFailed with what is wrong, and what the watch raises.
        """
        breaks = 0
        while True:
            before = self.size
            try:
                async with AsyncExitStack() as stack:
                    answer = await self._ask(stack)
                    async for piece in self._pieces(answer):
                        yield piece
            except _Broken as broken:
                trouble = broken.trouble
            else:
                return
            breaks = 1 if self.size > before else breaks + 1
            if breaks > MAX_BREAKS:
                raise CallFailed(trouble)
            if self.size > 0 and (self._version is None or self._version.validator is None):
                raise StartOver
            await asyncio.sleep(BREAK_WAITS_SECONDS[breaks - 1])

    async def _ask(self, stack: AsyncExitStack) -> Answer:
        """Return an answer whose bytes are the next ones of the file."""
        try:
            answer = await stack.enter_async_context(self._opener.open(self._url, self._range(), self._watch.before_send))
            self._accept(answer)
        except CallFailed as failed:
            if self.size == 0 or failed.trouble.kind is TroubleKind.FINAL:
                raise
            raise _Broken(failed.trouble) from None
        return answer

    def _range(self) -> dict[str, str]:
        if self.size == 0 or self._version is None or self._version.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self._version.validator}

    def _accept(self, answer: Answer) -> None:
        self.host = answer.host
        if self.size > 0 and self._version is not None:
            meaning = continuation(answer.status, answer.headers, self._version, self.size)
            if meaning is Continuation.START_OVER:
                raise StartOver
            is_good = meaning is Continuation.GOES_ON
        else:
            self._version = version_of(answer.headers, answer.length)
            is_good = answer.status == OK
        if not is_good:
            retry_after = answer.headers.get("retry-after")
            raise CallFailed(source_troubles.refused(answer.status, answer.host, retry_after, utc_now()))
        if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise CallFailed(source_troubles.encoded(answer.host))
        self._require_size(self.size + (answer.length or 0))

    async def _pieces(self, answer: Answer) -> AsyncGenerator[bytes]:
        head, came, since = b"", 0, time.monotonic()
        while piece := await self._read(answer):
            came += len(piece)
            self._require_speed(came, time.monotonic() - since)
            if not self.content_type:
                head += piece
                if len(head) < HEAD_BYTES:
                    continue
                piece = await self._begin(head, answer)
            yield self._take(piece)
        if not self.content_type:
            yield self._take(await self._begin(head, answer))
        total = None if self._version is None else self._version.total
        if total is not None and self.size > total:
            raise StartOver
        if total is not None and self.size < total:
            raise _Broken(source_troubles.broken_off(self.host))

    async def _read(self, answer: Answer) -> bytes:
        try:
            return await answer.body.read(PIECE_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError):
            # Its text may hold the address.
            raise _Broken(source_troubles.broken_off(self.host)) from None

    async def _begin(self, head: bytes, answer: Answer) -> bytes:
        content_type = container_of(head)
        if content_type is None:
            is_text = looks_like_text(head, answer.headers.get("content-type", ""))
            raise CallFailed(source_troubles.not_a_video(answer.host, is_text=is_text))
        await self._watch.begun(answer.length)
        self.content_type = content_type
        return head

    def _take(self, piece: bytes) -> bytes:
        self._require_size(self.size + len(piece))
        self._digest.update(piece)
        self.size += len(piece)
        self._watch.received(self.size)
        return piece

    def _require_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise CallFailed(source_troubles.too_large(self._limits.max_bytes))

    def _require_speed(self, came: int, seconds: float) -> None:
        if seconds > SPEED_AFTER_SECONDS and came < seconds * self._limits.min_bytes_per_second:
            raise CallFailed(source_troubles.too_slow(self.host))
