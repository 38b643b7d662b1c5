"""The body of an upload as it arrives: bounded in time and size."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from common.errors import Problem
from gateway.api.multipart import FilePart, MultipartFile, boundary_of
from gateway.usecases.store_upload import check_declared, too_large

FORM_OVERHEAD_BYTES = 64 * 1024
"""What boundaries and part headers may add to the file."""


class IncomingFile:
    """Reads an upload's body from the request; at most one chunk of it is in memory."""

    def __init__(self, request: Request, *, stall_seconds: float, max_bytes: int) -> None:
        self._stream = request.stream()
        self._headers = request.headers
        self._stall_seconds = stall_seconds
        self._max_bytes = max_bytes

    async def open(self) -> tuple[FilePart, AsyncIterator[bytes]]:
        """Return the file's part and its content in blocks.

        Raises `Problem` 400 or 422 for a body that is not one file, 413 when the length alone tells that it is too large, 415
        for another kind of body or a declared type that is neither video nor photo, 408 when the client stalls.
        """
        boundary = boundary_of(self._headers.get("content-type", ""))
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes + FORM_OVERHEAD_BYTES:
            raise too_large(self._max_bytes)
        file = MultipartFile(self._chunks(), boundary)
        part = await file.open()
        check_declared(part.content_type)
        return part, file.blocks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    chunk = await anext(self._stream, None)
            except TimeoutError:
                raise Problem(
                    408,
                    "upload_stalled",
                    f"Nothing arrived for {self._stall_seconds:g} seconds.",
                    headers={"Connection": "close"},
                ) from None
            if chunk is None:
                return
            if chunk:
                yield chunk
