"""HEAD wherever GET is: the same answer, of which the server sends the head alone."""

from starlette.types import ASGIApp, Receive, Scope, Send

HEAD_ONLY = "cuepost.head_only"
"""In the scope of a HEAD request: whoever would stream a body need not."""


class HeadAsGet:
    """Pure ASGI middleware; put outermost. The HTTP server leaves out the body of an answer to HEAD by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; all but HEAD passes through."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", HEAD_ONLY: True}
        await self._app(scope, receive, send)
