"""The body of an upload as it arrives: bounded in time and size."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from fastapi import Request

from common.errors import Problem
from common.http.body_guard import Pace
from gateway.api.multipart import FilePart, MultipartFile, boundary_of
from gateway.usecases.store_upload import check_declared, too_large

FORM_OVERHEAD_BYTES = 64 * 1024
"""What boundaries and part headers may add to the file."""


class IncomingFile:
    """Reads an upload's body from the request; at most one chunk of it is in memory.

    Making one reads nothing; raises `Problem` 400 or 415 when the head promises no multipart body, 413 when the length alone tells
    that it is too large.
    """

    def __init__(self, request: Request, *, pace: Pace, max_bytes: int) -> None:
        self._boundary = boundary_of(request.headers.get("content-type", ""))
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes + FORM_OVERHEAD_BYTES:
            raise too_large(max_bytes)
        self._stream = request.stream()
        self._pace = pace

    async def open(self) -> tuple[FilePart, AsyncIterator[bytes]]:
        """Return the file's part and its content in blocks.

        Raises `Problem` 400 or 422 for a body that is not one file, 415 for a declared type that is neither video nor photo, 408
        when the client stalls or is slower than the pace; so do the blocks.
        """
        file = MultipartFile(self._chunks(), self._boundary)
        part = await file.open()
        check_declared(part.content_type)
        return part, file.blocks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        # Only waiting counts: while the storage is slow nothing is asked of the client.
        size, waited = 0, 0.0
        while True:
            left = self._pace.seconds_for(size) - waited
            asked = monotonic()
            try:
                async with asyncio.timeout(min(left, self._pace.seconds)):
                    chunk = await anext(self._stream, None)
            except TimeoutError:
                raise self._stalled() if left >= self._pace.seconds else self._too_slow() from None
            waited += monotonic() - asked
            if chunk is None:
                return
            if chunk:
                size += len(chunk)
                yield chunk

    def _stalled(self) -> Problem:
        detail = f"Nothing arrived for {self._pace.seconds:g} seconds."
        return Problem(408, "upload_stalled", detail, headers={"Connection": "close"})

    def _too_slow(self) -> Problem:
        detail = f"The file arrived too slowly: less than {self._pace.bytes_per_second} bytes a second."
        hint = "Send fewer files at a time, or over a faster connection."
        return Problem(408, "upload_too_slow", detail, hint=hint, headers={"Connection": "close"})
