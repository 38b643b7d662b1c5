"""HTTPS required: what came without it is refused, browsers are told to stay with it, and cookies to go by nothing else."""

from collections.abc import Sequence

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import Problem
from common.http.problems import problem_response
from common.http.request_id import request_id_of
from gateway.domain.client_address import Network
from gateway.domain.transport import came_by_https

EXEMPT = frozenset({"/healthz", "/readyz"})
"""Asked by whoever runs the gateway, from inside."""


class HttpsOnly:
    """Pure ASGI middleware, within the one that gives requests their ids. Health endpoints are answered however they are asked."""

    def __init__(self, app: ASGIApp, *, trusted_proxies: Sequence[Network], max_age_seconds: int) -> None:
        self._app = app
        self._trusted = tuple(trusted_proxies)
        self._header = (b"strict-transport-security", f"max-age={max_age_seconds}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        peer = connection.client.host if connection.client is not None else None
        forwarded = connection.headers.getlist("x-forwarded-proto")
        if came_by_https(scope.get("scheme", "http"), peer, forwarded, self._trusted):

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*map(_secured, message.get("headers", ())), self._header]
                await send(message)

            await self._app(scope, receive, told)
        elif scope["path"] in EXEMPT:
            await self._app(scope, receive, send)
        else:
            await problem_response(_https_required(), request_id_of(connection))(scope, receive, send)


def _secured(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name.lower() != b"set-cookie":
        return header
    attributes = {part.strip().lower() for part in value.split(b";")[1:]}
    return header if b"secure" in attributes else (name, value + b"; Secure")


def _https_required() -> Problem:
    return Problem(
        403,
        "https_required",
        "This API is reached by HTTPS only.",
        hint="Use the https:// address. Whatever secret this request carried went over the network in the clear: replace it.",
    )
