"""Guards what comes in before any handler sees it: size, time to arrive, and JSON that no storage could hold."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import FieldError, Problem
from common.http.problems import problem_response
from common.http.request_id import SCOPE_KEY

DEFAULT_LIMIT_BYTES = 1024 * 1024
BODY_TIMEOUT_SECONDS = 30.0
LARGE_AT_ONCE = 4
"""So many bodies beyond the ordinary limit are in hand at a time: what is made of one takes several times its size."""
LARGE_PATIENCE_SECONDS = 30.0
MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1

_LOOK_CLOSER = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity|[0-9]{19}|[0-9][eE]\+?[0-9]{3}")


def _invalid(code: str, message: str, field: str = "body") -> Problem:
    return Problem(422, "invalid_request", message, errors=[FieldError(field, code, message)])


def check_json(body: bytes) -> Problem | None:
    """Return the problem of a JSON body no handler should see, None when it is fine or not JSON at all.

    Refused are NUL characters, lone surrogates, NaN and Infinity, integers beyond 64 bits, floats too large to be finite, and
    more than 64 levels. Malformed JSON passes: the router tells about it.
    """
    if b"\x00" in body or not (body.isascii() or _is_utf8(body)):
        return _invalid("json_invalid", "The body must be JSON in UTF-8.")
    if _LOOK_CLOSER.search(body) is None and body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return None
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        return _invalid("too_deep", f"The body is nested more than {MAX_DEPTH} levels deep.")
    except _NotANumber:
        return _invalid("not_a_number", "NaN and Infinity are not JSON.")
    except json.JSONDecodeError:
        return None
    except ValueError:
        return _invalid("json_invalid", "The body is not valid JSON.")
    return _check_value(value)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _NotANumber(Exception):
    """NaN or Infinity in a JSON text."""


def _refuse_constant(_: str) -> Any:
    raise _NotANumber


def _check_value(root: Any) -> Problem | None:
    level = [root]
    for _depth in range(MAX_DEPTH + 1):
        if not level:
            return None
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.keys())
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif (problem := _check_scalar(value)) is not None:
                return problem
        level = below
    return _invalid("too_deep", f"The body is nested more than {MAX_DEPTH} levels deep.")


def _check_scalar(value: Any) -> Problem | None:
    if isinstance(value, str):
        if "\x00" in value:
            return _invalid("nul_character", "Text must not contain the NUL character.")
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            return _invalid("lone_surrogate", "Text must be valid Unicode.")
    elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        return _invalid("integer_too_large", "Integers must fit into 64 bits.")
    elif isinstance(value, float) and math.isinf(value):
        return _invalid("number_too_large", "The number is too large.")
    return None


SINGLE_HEADERS = frozenset({b"content-type"})
"""Fields whose repetition has no meaning (RFC 9110, section 5.3) and which several readers look at."""


class BodyGuard:
    """Pure ASGI middleware: reads the body (up to `limit_bytes`, within 30 s), checks it, and hands it on in one piece.

    `limits` has other limits for single paths; of bodies there that are larger than `limit_bytes`, or do not tell their size, only
    a few are in hand at a time, from their first byte to the answer: the others wait unread, and are told 503 after 30 s. Paths
    that begin with one of `unguarded_prefixes` (uploads) are passed on untouched; their routes keep their own limits.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        limits: Mapping[str, int] | None = None,
        unguarded_prefixes: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._limit = limit_bytes
        self._limits = limits or {}
        self._unguarded = tuple(unguarded_prefixes)
        self._places = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            try:
                _check_address(scope)
                _check_headers(scope)
                if self._unguarded and scope["path"].startswith(self._unguarded):
                    guarded: Receive | None = receive
                else:
                    await stack.enter_async_context(self._place(scope))
                    guarded = await self._guard(scope, receive)
            except Problem as problem:
                await problem_response(problem, scope.get(SCOPE_KEY))(scope, receive, send)
                return
            if guarded is not None:
                await self._app(scope, guarded, send)

    @asynccontextmanager
    async def _place(self, scope: Scope) -> AsyncIterator[None]:
        """Hold one of the places for large bodies where the request may bring one; raises Problem 503."""
        length, _, has_body = _declared(scope)
        if scope["path"] not in self._limits or not has_body or (length is not None and length <= self._limit):
            yield
            return
        try:
            async with asyncio.timeout(LARGE_PATIENCE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Problem(
                503,
                "service_unavailable",
                "Too many large requests are under way.",
                hint="Nothing has happened; send it again in a few seconds.",
                headers={"Retry-After": "5", "Connection": "close"},
            ) from None
        try:
            yield
        finally:
            self._places.release()

    async def _guard(self, scope: Scope, receive: Receive) -> Receive | None:
        """Return a receive that replays the checked body, None when the client went away meanwhile."""
        length, is_json, has_body = _declared(scope)
        limit = self._limits.get(scope["path"], self._limit)
        if length is not None and length > limit:
            raise _too_large(limit)
        if not has_body:
            return receive
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                body = await _read(receive, limit)
        except TimeoutError:
            raise Problem(
                408,
                "body_timeout",
                f"The body did not arrive within {BODY_TIMEOUT_SECONDS:g} seconds.",
                headers={"Connection": "close"},
            ) from None
        if body is None:
            return None
        problem = check_json(body) if is_json else None
        if problem is not None:
            raise problem
        return _replay(body, receive)


async def _read(receive: Receive, limit: int) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(limit: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {limit} bytes.", headers={"Connection": "close"})


def _declared(scope: Scope) -> tuple[int | None, bool, bool]:
    length: int | None = None
    is_json = True
    has_body = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() else None
            has_body = length != 0
        elif name == b"transfer-encoding":
            has_body = True
        elif name == b"content-type":
            is_json = b"json" in value.lower()
    return length, is_json, has_body


def _check_address(scope: Scope) -> None:
    if "\x00" in scope["path"]:
        raise Problem(404, "not_found", "There is nothing at this address.")
    if b"%00" in scope.get("query_string", b""):
        raise _invalid("nul_character", "Query parameters must not contain the NUL character.", "query")


def _check_headers(scope: Scope) -> None:
    """Refuse what may stand there once and stands twice: each reader would believe another one."""
    seen: set[bytes] = set()
    for name, _ in scope["headers"]:
        if name in seen:
            title = name.decode("ascii").title()
            raise Problem(400, "repeated_header", f"The header {title} was sent more than once.", hint="Send it once.")
        if name in SINGLE_HEADERS:
            seen.add(name)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
