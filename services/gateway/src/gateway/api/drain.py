"""Refusing a body that is still on its way without cutting the connection under the client."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_SECONDS = 5.0
STALLED = 408
"""The status for a client that sends nothing: there is nothing to wait for."""


class DrainRefusedBody:
    """Pure ASGI middleware: before an error answer it reads on for a moment, until the body is complete.

    A server that answers and closes while bytes arrive makes the client's system reset the connection, and most clients then
    never see the answer. Nothing read here is kept. A client that waits for `100 Continue` has sent nothing: it is answered
    at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes, and requests without a body, pass through."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, waits=any(name == b"expect" for name, _ in scope["headers"]))

        async def send_after_draining(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400 and message["status"] != STALLED:
                await body.drain()
            await send(message)

        await self._app(scope, body.receive, send_after_draining)


class _Body:
    """Passes messages on and remembers whether the body is complete."""

    def __init__(self, receive: Receive, *, waits: bool) -> None:
        self._receive = receive
        self._untouched_and_waiting = waits
        self._complete = False

    async def receive(self) -> Message:
        self._untouched_and_waiting = False
        message = await self._receive()
        self._complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        if self._untouched_and_waiting:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._complete:
                    await self.receive()


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding" for name, value in scope["headers"]
    )
