"""A small body as the bytes that came: what is signed must not be parsed before its signature was checked."""

import asyncio

from fastapi import Request

from common.errors import Problem

BODY_SECONDS = 10.0


async def whole_body(request: Request, *, max_bytes: int, seconds: float = BODY_SECONDS) -> bytes:
    """Return the raw body.

    Raises Problem 413 `body_too_large` beyond `max_bytes`, 408 `body_timeout` when it is not there within `seconds`.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        detail = f"The body did not arrive within {seconds:g} seconds."
        raise Problem(408, "body_timeout", detail, headers={"Connection": "close"}) from None
    return bytes(body)


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {max_bytes} bytes.", headers={"Connection": "close"})
