"""Passing a long answer on while it comes: as fast as the client takes it, with nothing of it kept."""

import asyncio
from contextlib import aclosing

import httpx
import structlog
from fastapi import Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from common.http.cutting import cut
from gateway.api.callers import forwarded_headers
from gateway.api.forwarding import passed_on, query_of
from gateway.api.head import HEAD_ONLY
from gateway.clients.upstreams import Upstream
from gateway.edge import edge_of
from gateway.security.authenticator import Caller

STALL_SECONDS = 60.0
"""A client that takes nothing for so long is cut off: it holds a place that others may want."""

_log = structlog.get_logger(__name__)
_PASSED_ON = ("content-type", "content-disposition")


class ForwardedStream(Response):
    """The service's answer to a GET as it comes; a refusal comes back as it is.

    Holds one of the places for exports until the answer has ended; without one it is 429 `too_many_at_once` or 503
    `all_places_taken`. When the service fails on the way the connection is cut, so that nobody takes a part for the whole.
    """

    def __init__(self, request: Request, service: Upstream, path: str, *, caller: Caller) -> None:
        super().__init__()
        self._request = request
        self._service = service
        self._path = path
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the service and answer."""
        edge = edge_of(self._request)
        with edge.exports.held(self._caller.claims.user_id):
            answer = await edge.upstreams.open(
                self._service,
                self._path,
                query=query_of(self._request),
                bearer=self._caller.token,
                headers=forwarded_headers(self._request),
            )
            async with aclosing(answer):
                response = await self._response(answer)
                await response(scope, receive, unless_stalled(scope, send, STALL_SECONDS))

    async def _response(self, answer: httpx.Response) -> Response:
        if answer.status_code != httpx.codes.OK:
            await answer.aread()
            return passed_on(answer)
        headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        if self._request.scope.get(HEAD_ONLY):
            return Response(headers=headers)
        return StreamingResponse(answer.aiter_raw(), headers=headers)


def unless_stalled(scope: Scope, send: Send, seconds: float) -> Send:
    """Return a `send` that cuts the connection when the client takes nothing for so many seconds.

    The server then tells that the client is gone. Raises TimeoutError where the server cannot cut.
    """

    async def sent(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError:
            if not cut(scope):
                raise
            _log.info("client_stalled", seconds=seconds)

    return sent
