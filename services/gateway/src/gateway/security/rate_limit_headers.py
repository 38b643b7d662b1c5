"""Puts the `RateLimit` headers on every response of a request that was counted and let through; a 429 has its own."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.security.rate_limits import Allowance

STATE_KEY = "rate_limit_allowance"


class RateLimitHeaders:
    """Pure ASGI middleware: adds what the counting dependency left in the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def with_headers(message: Message) -> None:
            allowance: Allowance | None = state.get(STATE_KEY)
            if message["type"] == "http.response.start" and allowance is not None:
                extra = [(name.lower().encode(), value.encode()) for name, value in allowance.headers.items()]
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        await self._app(scope, receive, with_headers)
