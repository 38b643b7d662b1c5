"""Passing a request on to the owning service, and its answer back untouched."""

from collections.abc import Mapping

import httpx
from fastapi import Request, Response

from common.errors import Problem
from gateway.api.callers import forwarded_headers
from gateway.clients.upstreams import QUERY_TIMEOUT_S, Upstream
from gateway.edge import edge_of
from gateway.security.authenticator import Caller

MAX_QUERY_BYTES = 8192
_REQUEST_HEADERS = ("content-type", "if-none-match", "accept-language")
_RESPONSE_HEADERS = frozenset(
    {
        *(b"content-type", b"content-disposition", b"etag", b"cache-control", b"location", b"retry-after"),
        *(b"www-authenticate", b"vary", b"set-cookie"),
    }
)


async def forward(
    request: Request,
    service: Upstream,
    path: str,
    *,
    caller: Caller | None,
    timeout: float = QUERY_TIMEOUT_S,
    also: Mapping[str, str] | None = None,
) -> Response:
    """Return the service's answer to this request: bytes, status, content type and ETag as they came.

    `also` are headers to send beside the usual ones.
    The user's token is passed on, or the gateway's own without a caller. Raises Transient (503) when the service is away,
    `Problem` 414 for a query string beyond 8 KB.
    """
    query = query_of(request)
    body = await request.body() if request.method not in {"GET", "HEAD"} else b""
    headers = forwarded_headers(request) | dict(also or {})
    for name in _REQUEST_HEADERS:
        value = request.headers.get(name, "")
        if value and value.isascii():
            headers[name] = value
    answer = await edge_of(request).upstreams.send(
        service,
        request.method,
        path,
        query=query,
        content=body or None,
        bearer=caller.token if caller is not None else None,
        headers=headers,
        timeout=timeout,
    )
    return passed_on(answer)


def query_of(request: Request) -> bytes:
    """Return the query string as it came; raises `Problem` 414 beyond 8 KB."""
    query: bytes = request.scope["query_string"]
    if len(query) > MAX_QUERY_BYTES:
        raise Problem(414, "query_too_long", f"The query string is longer than {MAX_QUERY_BYTES} bytes.")
    return query


def passed_on(answer: httpx.Response) -> Response:
    """Return an upstream answer as a response with the same bytes and status."""
    response = Response(answer.content, status_code=answer.status_code)
    named = ((name.lower(), value) for name, value in answer.headers.raw)
    response.raw_headers.extend((name, value) for name, value in named if name in _RESPONSE_HEADERS)
    return response
