"""The live stream of a user's own events."""

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from common.clock import utc_now
from common.errors import Problem, Transient
from common.http.cutting import cut
from common.http.identity import bearer_token
from gateway.api.callers import allowed, forwarded_headers
from gateway.api.documents import Responses, parameters, problems
from gateway.api.head import HEAD_ONLY
from gateway.api.streaming import unless_stalled
from gateway.domain.closing import UNKNOWN_RIGHTS, Closing, refused
from gateway.domain.live_event import last_seen
from gateway.edge import Edge, edge_of
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/events", tags=["events"])
Reader = Annotated[Caller, Depends(allowed("audit:read"))]

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Connection": "close"}
"""Kept by nobody on the way, not gathered by proxies before it is passed on, and the last of its connection."""
MAX_ID_CHARS = 64
LAST_EVENT_S = 0.5
"""How long a client whose rights have gone may take for its last event: with the way of the revocation, less than a second."""
STALL_S = 30.0
"""A client that takes nothing for so long is cut off, without a last event: it would not take that either."""

_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that was seen: the stream goes on behind it, up to 24 hours back.",
    "schema": {"type": "string", "maxLength": MAX_ID_CHARS},
}


def _stream() -> Responses:
    return {200: {"description": "The events, as they happen.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}


class LiveStream(Response):
    """One stream, from the subscription to its `closed`."""

    def __init__(self, request: Request, caller: Caller) -> None:
        super().__init__()
        self._request = request
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Subscribe, then answer for as long as the client listens and may."""
        if scope.get(HEAD_ONLY):
            await Response(media_type=MEDIA_TYPE, headers=HEADERS)(scope, receive, send)
            return
        edge, claims = edge_of(self._request), self._caller.claims
        last = self._request.headers.get("last-event-id", "")[: MAX_ID_CHARS + 1]
        seen = last_seen(last, now=utc_now()) if last else None

        def ended(closing: Closing) -> None:
            if closing.at_once:
                cut(scope, after=LAST_EVENT_S)

        opened = edge.live_streams.opened(claims, seen=seen, on_close=ended)
        with edge.live_places.held(claims.user_id), opened as stream:
            await edge.live_feed.subscribed()
            unresumable = bool(last) and seen is None
            async with aclosing(edge.follower.follow(stream, self._recheck, unresumable=unresumable)) as pieces:
                response = StreamingResponse(pieces, media_type=MEDIA_TYPE, headers=HEADERS)
                await response(scope, receive, unless_stalled(scope, send, STALL_S))

    async def _recheck(self) -> Closing | None:
        """Return why the token does not count any more, None while it does or accounts is away."""
        edge: Edge = edge_of(self._request)
        try:
            await edge.authenticator.authenticate(bearer_token(self._request), forwarded_headers(self._request))
        except Problem as problem:
            return UNKNOWN_RIGHTS if problem.status >= 500 else refused(problem.code, problem.detail)
        except Transient:
            return None
        return None


@router.get(
    "", response_class=Response, responses=problems(401, 403, 503) | _stream(), openapi_extra=parameters(_LAST_EVENT_ID)
)
async def follow_events(request: Request, caller: Reader) -> Response:
    """Follow the user's own events live, as server-sent events.

    Each has `id` (the event's), `event` (its type) and `data` (the CloudEvent as JSON). With `Last-Event-ID` the stream first
    repeats what came since, some of it perhaps twice under the same id; `gap` tells that this could not be. `closed` is the last.
    """
    return LiveStream(request, caller)
