"""Guards what comes in before any handler sees it: size, time to arrive, and JSON that no storage could hold."""

import asyncio
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import FieldError, Problem
from common.http.problems import problem_response
from common.http.request_id import SCOPE_KEY

DEFAULT_LIMIT_BYTES = 1024 * 1024
BODY_TIMEOUT_SECONDS = 30.0
MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1

_LOOK_CLOSER = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity|[0-9]{19}|[0-9][eE]\+?[0-9]{3}")


def _invalid(code: str, message: str, field: str = "body") -> Problem:
    return Problem(422, "invalid_request", message, errors=[FieldError(field, code, message)])


def check_json(body: bytes) -> Problem | None:
    """Return the problem of a JSON body no handler should see, None when it is fine or not JSON at all.

    Refused are NUL characters, lone surrogates, NaN and Infinity, integers beyond 64 bits, floats too large to be finite, more than
    64 levels, and names that stand twice in one object: readers differ in which of the values they believe. Malformed JSON passes:
    the router tells about it.
    """
    if b"\x00" in body or not (body.isascii() or _is_utf8(body)):
        return _invalid("json_invalid", "The body must be JSON in UTF-8.")
    try:
        value = _READER.decode(body.decode("utf-8-sig"))
    except RecursionError:
        return _invalid("too_deep", f"The body is nested more than {MAX_DEPTH} levels deep.")
    except _NotANumber:
        return _invalid("not_a_number", "NaN and Infinity are not JSON.")
    except _RepeatedName:
        return _invalid("repeated_name", "A name stands twice in one object.")
    except json.JSONDecodeError:
        return None
    except ValueError:
        return _invalid("json_invalid", "The body is not valid JSON.")
    is_plain = _LOOK_CLOSER.search(body) is None and body.count(b"{") + body.count(b"[") <= MAX_DEPTH
    return None if is_plain else _check_value(value)


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


class _RepeatedName(Exception):
    """A JSON object with two members of one name."""


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise _RepeatedName
    return found


_READER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)
"""Made once: that takes longer than reading an ordinary body."""


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

    Paths that begin with one of `unguarded_prefixes` are passed on untouched; their routes keep their own limits.
    """

    def __init__(
        self, app: ASGIApp, *, limit_bytes: int = DEFAULT_LIMIT_BYTES, unguarded_prefixes: Sequence[str] = ()
    ) -> None:
        self._app = app
        self._limit = limit_bytes
        self._unguarded = tuple(unguarded_prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _check_address(scope)
            _check_headers(scope)
            if self._unguarded and scope["path"].startswith(self._unguarded):
                guarded: Receive | None = receive
            else:
                guarded = await self._guard(scope, receive)
        except Problem as problem:
            await problem_response(problem, scope.get(SCOPE_KEY))(scope, receive, send)
            return
        if guarded is not None:
            await self._app(scope, guarded, send)

    async def _guard(self, scope: Scope, receive: Receive) -> Receive | None:
        """Return a receive that replays the checked body, None when the client went away meanwhile."""
        declared = declared_body(scope)
        declared.refuse_beyond(self._limit)
        if not declared.is_there:
            return receive
        body = await read_checked(declared, receive, limit_bytes=self._limit)
        return replay(body, receive) if body is not None else None


@dataclass(frozen=True, slots=True)
class DeclaredBody:
    """What a request's head says of its body: bytes (None: not told), whether it may be JSON, whether there is one at all."""

    length: int | None
    is_json: bool
    is_there: bool

    def refuse_beyond(self, limit_bytes: int) -> None:
        """Raise Problem 413 `body_too_large` when the length alone tells that it is larger."""
        if self.length is not None and self.length > limit_bytes:
            raise _too_large(limit_bytes)

    def fits(self, limit_bytes: int) -> bool:
        """Tell whether it is sure to be no larger than so many bytes."""
        return not self.is_there or (self.length is not None and self.length <= limit_bytes)


def declared_body(scope: Scope) -> DeclaredBody:
    """Return what the head of an HTTP request says of its body."""
    length: int | None = None
    is_json = True
    is_there = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() else None
            is_there = length != 0
        elif name == b"transfer-encoding":
            is_there = True
        elif name == b"content-type":
            is_json = b"json" in value.lower()
    return DeclaredBody(length, is_json, is_there)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a body may take to arrive: so many seconds, and a second more for each so many bytes that are there."""

    seconds: float
    bytes_per_second: int | None = None

    def seconds_for(self, size: int) -> float:
        """Return how long so many bytes may take."""
        return self.seconds + (size / self.bytes_per_second if self.bytes_per_second is not None else 0.0)


async def read_checked(
    declared: DeclaredBody, receive: Receive, *, limit_bytes: int, pace: Pace | None = None
) -> bytes | None:
    """Return the whole body, None when the client went away meanwhile; without a `pace` it has 30 s.

    Raises Problem 413 `body_too_large`, 408 `body_timeout`, and for JSON the one of `check_json`.
    """
    pace = pace or Pace(BODY_TIMEOUT_SECONDS)
    try:
        body = await _read(receive, limit_bytes, pace)
    except TimeoutError:
        raise Problem(
            408,
            "body_timeout",
            f"The body did not arrive within {pace.seconds:g} seconds."
            if pace.bytes_per_second is None
            else f"The body arrived too slowly: less than {pace.bytes_per_second} bytes a second.",
            headers={"Connection": "close"},
        ) from None
    if body is not None and declared.is_json and (problem := check_json(body)) is not None:
        raise problem
    return body


async def _read(receive: Receive, limit: int, pace: Pace) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(pace.seconds) as timer:
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
            if not timer.expired():
                timer.reschedule(began + pace.seconds_for(size))


def _too_large(limit: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {limit} bytes.", headers={"Connection": "close"})


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


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body in one piece, and then what `receive` gives."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
