"""A body that may be large: read only for who may send it, a few at a time, and none of them slowly."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from fastapi import Request

from common.errors import Problem
from common.http.body_guard import Pace, declared_body, read_checked, replay
from common.places import Places

ORDINARY_BODY_BYTES = 512 * 1024
"""No other route but uploads takes more."""
PATIENCE_SECONDS = 30.0
"""So long one waits for a place; nothing of its body is read meanwhile."""
PACE = Pace(seconds=10.0, bytes_per_second=256 * 1024)
"""Who sends nothing holds a place for ten seconds; 8 MB may take 42."""


@asynccontextmanager
async def large_body(request: Request, user_id: UUID, places: Places, *, limit_bytes: int) -> AsyncIterator[Request]:
    """Give the request with its body read and checked, as the guard of all others does it.

    What may be larger than `ORDINARY_BODY_BYTES` holds one of the user's places from before its first byte until the block ends.
    Raises Problem 413 `body_too_large` (at once, unread, when the length tells it), 429 `too_many_at_once`, 503 `all_places_taken`,
    408 `body_timeout`, 400 `body_aborted`, or the one of the body.
    """
    declared = declared_body(request.scope)
    declared.refuse_beyond(limit_bytes)
    async with AsyncExitStack() as stack:
        pace = None
        if not declared.fits(ORDINARY_BODY_BYTES):
            await stack.enter_async_context(places.waited_for(user_id, seconds=PATIENCE_SECONDS))
            pace = PACE
        body = b""
        if declared.is_there:
            read = await read_checked(declared, request.receive, limit_bytes=limit_bytes, pace=pace)
            if read is None:
                raise Problem(400, "body_aborted", "The client went away before the body was complete.")
            body = read
        yield Request(request.scope, replay(body, request.receive))
