"""Outermost layer of every request: its id, its trace, its log line, its measure, and the 500 of what nobody expected."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.contracts.traceparent import accepted_traceparent
from common.http.problems import internal_error, problem_response
from common.http.request_id import RAW_HEADER, SCOPE_KEY, choose_request_id
from common.telemetry.metrics import HTTP_SECONDS
from common.telemetry.tracing import HEADER, bound_trace

QUIET_PATHS = frozenset({"/healthz", "/readyz", "/internal/revocations"})
"""Asked every second by machines: a line for each answer would bury the others, so only refusals are logged."""
FIRST_REFUSAL = 400
RAW_TRACE_HEADER = HEADER.encode("ascii")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are labels of their own; a client must not be able to make new ones."""

log = structlog.get_logger(__name__)


class _Answer:
    """Watches what is sent: adds the request id to the head and remembers the status."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != RAW_HEADER]
            message["headers"] = [*headers, (RAW_HEADER, self._request_id)]
        await self._send(message)


def _sent(scope: Scope) -> list[str]:
    """Return what was sent as traceparent; beyond ASCII it is malformed, whatever it says."""
    return [value.decode("ascii", "replace") for name, value in scope["headers"] if name == RAW_TRACE_HEADER]


class RequestMiddleware:
    """Pure ASGI middleware; put outermost.

    An exception that reaches it is logged with its trace and answered with 500 `internal_error`; when the answer had already
    begun, it is raised on, so that the server cuts the connection and the client sees a broken answer, not a whole one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(scope)
        scope[SCOPE_KEY] = request_id
        with bound_trace(accepted_traceparent(_sent(scope))):
            await self._handle(scope, receive, send, request_id)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        tokens = structlog.contextvars.bind_contextvars(correlation_id=request_id)
        answer = _Answer(send, request_id)
        began = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("request_crashed", method=scope["method"], path=scope["path"])
            if answer.status:
                raise
            await problem_response(internal_error(), request_id)(scope, receive, answer)
        finally:
            self._record(scope, answer.status, time.perf_counter() - began)
            structlog.contextvars.reset_contextvars(**tokens)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        HTTP_SECONDS.labels(method, route, status).observe(seconds)
        write = log.debug if path in QUIET_PATHS and status < FIRST_REFUSAL else log.info
        write("request", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 2))
