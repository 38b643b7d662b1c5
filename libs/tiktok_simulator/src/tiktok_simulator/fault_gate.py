"""The gate that every request to TikTok's endpoints passes: faults happen here, answers are counted here."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiktok_simulator.answers import envelope_error, flat_error, status_of
from tiktok_simulator.connection import abort
from tiktok_simulator.faults import UPLOAD_FAULT, Fault
from tiktok_simulator.paths import API_PATHS, UPLOAD
from tiktok_simulator.state import Simulator
from tiktok_simulator.stats import Stats

_OAUTH_PREFIX = "/v2/oauth/"
_FORM_LIMIT = 100_000
_MIDDLE_BYTES = 1_000_000
_PATHS = frozenset(API_PATHS)
Continue = Callable[[Receive, Send], Awaitable[None]]


class FaultGate:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or let it go wrong as ordered."""
        endpoint = _endpoint(scope)
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        simulator: Simulator = scope["app"].state.simulator
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if simulator.faults.concerns_one_creator(endpoint):
            owner, receive = await _owner(simulator, scope, receive)
        else:
            owner = None
        fault = simulator.faults.take(endpoint, owner)
        try:
            if fault is None:
                await self._app(scope, receive, counted)
            else:
                await self._go_wrong(fault, scope, receive, counted)
        finally:
            simulator.stats.count(endpoint, status)

    async def _go_wrong(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.delay_place == "request":
            await fault.wait()
        if fault.drop:
            if fault.delay_place == "body":
                await _read_to_middle(scope, receive)
                await fault.wait()
            await abort(scope, receive)
            return
        if fault.code is not None or fault.status is not None:
            await _drain(receive)
            if fault.delay_place != "request":
                await fault.wait()
            await _refusal(fault, scope)(scope, receive, send)
            return
        if fault.delay_place == "body":
            receive = _slow(fault, scope, receive)
        if fault.lost_answer:
            await self._app(scope, receive, _swallow)
            if fault.delay_place == "answer":
                await fault.wait()
            await abort(scope, receive)
            return
        await self._app(scope, receive, _late(fault, send) if fault.delay_place == "answer" else send)


def _endpoint(scope: Scope) -> str | None:
    if scope["type"] != "http":
        return None
    path: str = scope["path"]
    if path == UPLOAD:
        return UPLOAD_FAULT
    return path if path in _PATHS else None


async def _owner(simulator: Simulator, scope: Scope, receive: Receive) -> tuple[str | None, Receive]:
    """Return the open id of the caller as far as the request tells, and a receive that begins from the start."""
    headers = dict(scope["headers"])
    bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")[2]
    if bearer:
        return simulator.grants.owner_of(bearer.strip()), receive
    query = parse_qs(scope["query_string"].decode("latin-1"))
    if scope["path"] == UPLOAD:
        publication = simulator.ledger.of_upload(query.get("upload_id", [""])[0])
        return (publication.open_id if publication is not None else None), receive
    if not scope["path"].startswith(_OAUTH_PREFIX):
        creator = simulator.creators.named(query.get("simulator_creator", [""])[0])
        return (creator.open_id if creator is not None else None), receive
    body = await _drain(receive, keep=_FORM_LIMIT)
    form = parse_qs(body.decode("latin-1"))
    secret = next((form[name][0] for name in ("refresh_token", "code", "token") if name in form), "")
    return simulator.grants.owner_of(secret), _replay(body, receive)


def _replay(body: bytes, receive: Receive) -> Receive:
    first = True

    async def again() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


async def _drain(receive: Receive, keep: int = 0) -> bytes:
    """Read the rest of the body and return its first ``keep`` bytes."""
    kept = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(kept)
        kept += message.get("body", b"")[: keep - len(kept)]
        if not message.get("more_body", False):
            return bytes(kept)


def _content_length(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _middle(scope: Scope) -> int:
    """Return how much of the body counts as its middle: half of it, but not more than a megabyte.

    What the peer sends beyond stays in the network's buffers; the less is read, the surer it is that the rest of a
    large body has not left the peer.
    """
    return min(_content_length(scope) // 2, _MIDDLE_BYTES)


async def _read_to_middle(scope: Scope, receive: Receive) -> None:
    middle, seen = _middle(scope), 0
    while seen <= middle:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        seen += len(message.get("body", b""))


def _slow(fault: Fault, scope: Scope, receive: Receive) -> Receive:
    """Return a receive that waits once, in the middle of the body."""
    middle, seen, waited = _middle(scope), 0, False

    async def slow() -> Message:
        nonlocal seen, waited
        message = await receive()
        seen += len(message.get("body", b""))
        if not waited and (seen > middle or not message.get("more_body", False)):
            waited = True
            await fault.wait()
        return message

    return slow


def _late(fault: Fault, send: Send) -> Send:
    async def late(message: Message) -> None:
        if message["type"] == "http.response.start":
            await fault.wait()
        await send(message)

    return late


async def _swallow(_: Message) -> None:
    return


def _refusal(fault: Fault, scope: Scope) -> Response:
    path: str = scope["path"]
    if path == UPLOAD:
        return JSONResponse({"message": fault.code or "ordered fault"}, status_code=fault.status or 400)
    stats: Stats = scope["app"].state.simulator.stats
    code = fault.code or ("rate_limit_exceeded" if fault.status == 429 else "internal_error")
    if path.startswith(_OAUTH_PREFIX):
        settings = scope["app"].state.settings
        error = fault.code or "server_error"
        stats.refuse(path, error)
        return flat_error(fault.status or settings.oauth_error_status, error, "An ordered fault.")
    stats.refuse(path, code)
    return envelope_error(fault.status or status_of(code, path), code, "An ordered fault.")
