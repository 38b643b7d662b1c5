"""A file that is written while it is read, however long, in constant memory."""

from collections.abc import AsyncIterator
from datetime import datetime

from fastapi.responses import StreamingResponse

from analytics.domain.file_formats import MEDIA_TYPES, Format


async def file_answer(
    beginning: bytes, pieces: AsyncIterator[bytes], wanted: Format, *, name: str, now: datetime
) -> StreamingResponse:
    """Return the answer with `beginning` and then the pieces; `name` and the day are the file's name.

    A failure after the beginning cuts the connection: the file ends before its last chunk.
    """
    # Read before the answer begins: until then, a database that is away is a 503.
    first = await anext(pieces, b"")
    return StreamingResponse(
        _body(beginning + first, pieces),
        media_type=MEDIA_TYPES[wanted],
        headers={"Content-Disposition": f'attachment; filename="{name}-{now:%Y-%m-%d}.{wanted}"'},
    )


async def _body(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
